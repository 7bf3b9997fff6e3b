package record

import (
	"hash/maphash"
	"sync"

	"github.com/keyreeve/keyreeve/internal/store"
)

// memory remembers the newest generation of records, of a bounded number.
type memory struct {
	seed   maphash.Seed
	half   int // a shard holds up to twice as many
	shards [64]memoryShard
}

// memoryShard forgets by halves: when young is full, it becomes old, and the
// old one is dropped. What is asked for moves back to young.
type memoryShard struct {
	mu         sync.Mutex
	young, old map[string]known
}

// known is what is known of a record: no older generation is to be taken. For
// a deleted record it is one more than that of the record.
type known struct {
	generation uint64
	rev        store.Rev // at which that became true
}

func newMemory(seed maphash.Seed, size int) *memory {
	m := &memory{seed: seed}
	m.half = max(1, size/len(m.shards)/2)
	return m
}

func (m *memory) shard(key string) *memoryShard {
	return &m.shards[maphash.String(m.seed, key)%uint64(len(m.shards))]
}

// get returns what is known of key, the zero value if nothing is.
func (m *memory) get(key string) known {
	sh := m.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.get(key, m.half)
}

// saw notes a record that was read and found right. One that was read before
// what is known came true is of the past, whatever its generation.
func (m *memory) saw(key string, generation uint64, rev store.Rev) {
	sh := m.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if k := sh.get(key, m.half); generation > k.generation && rev >= k.rev {
		sh.put(key, known{generation, rev}, m.half)
	}
}

// absent notes that, at head, there was no record where before was known.
func (m *memory) absent(key string, before known, head store.Rev) {
	if before.generation == 0 || head <= before.rev {
		return
	}
	sh := m.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if k := sh.get(key, m.half); k == before {
		sh.put(key, known{before.generation + 1, head}, m.half)
	}
}

// committed notes a change of our own, which is right by itself: only what
// became known later stands against it.
func (m *memory) committed(key string, generation uint64, rev store.Rev) {
	sh := m.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if k := sh.get(key, m.half); rev > k.rev {
		sh.put(key, known{generation, rev}, m.half)
	}
}

func (sh *memoryShard) get(key string, half int) known {
	k, ok := sh.young[key]
	if ok {
		return k
	}
	if k, ok = sh.old[key]; ok {
		sh.put(key, k, half)
	}
	return k
}

func (sh *memoryShard) put(key string, k known, half int) {
	if sh.young == nil || len(sh.young) >= half {
		if _, ok := sh.young[key]; !ok {
			sh.old = sh.young
			sh.young = make(map[string]known, min(half, 64))
		}
	}
	sh.young[key] = k
}
