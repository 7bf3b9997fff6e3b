package record_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/store"
)

// heard is what a listener was told.
type heard struct {
	mu   sync.Mutex
	keys []string
}

func (h *heard) hear(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = append(h.keys, key)
}

// after does something and waits until it was told of key.
func (h *heard) after(t *testing.T, what, key string, do func(), wait bool) {
	t.Helper()
	h.mu.Lock()
	h.keys = nil
	h.mu.Unlock()
	do()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		h.mu.Lock()
		ok := slices.Contains(h.keys, key)
		h.mu.Unlock()
		if ok {
			return
		}
		if !wait {
			break
		}
	}
	t.Errorf("%s: not told of %q", what, key)
}

func TestOnChange(t *testing.T) {
	st := store.NewMem()
	t.Cleanup(func() { st.Close() })
	box := newBox(t, st)
	here, there := openStore(t, st, box, record.Options{}), openStore(t, st, box, record.Options{})
	var own, other heard
	cache := record.NewCache(there, record.KindKey, "v1/key/", record.Limit[string]{Count: 16}, func(r record.Record) (string, error) { return string(r.Value), nil }, nil)
	here.OnChange(own.hear)
	there.OnChange(func(key string) {
		// What is cached is not the old value any more.
		if key == keyB {
			if n := cache.Len(); n != 0 {
				t.Errorf("told of a change while %d old values are cached", n)
			}
		}
		other.hear(key)
	})

	own.after(t, "a change of its own", keyA, func() { create(t, here, keyA, "1") }, false)
	other.after(t, "a change elsewhere", keyB, func() { create(t, here, keyB, "1") }, true)
	if v, err := cache.Get(t.Context(), []byte(keyB)); err != nil || v != "1" {
		t.Fatal(v, err)
	}
	other.after(t, "a change of what is cached", keyB, func() { put(t, here, keyB, "2") }, true)
	own.after(t, "a deletion", keyA, func() {
		tx := here.Begin()
		tx.Delete(mustGet(t, here, keyA))
		commit(t, tx)
	}, false)
	own.after(t, "a change that did not happen", keyB, func() {
		tx := here.Begin()
		tx.Absent(keyB)
		if _, err := tx.Commit(t.Context()); !errors.Is(err, record.ErrConflict) {
			t.Errorf("Commit = %v", err)
		}
	}, false)
	own.after(t, "a flush", "", here.Flush, false)
}

func TestFresh(t *testing.T) {
	st := store.NewMem()
	t.Cleanup(func() { st.Close() })
	box := newBox(t, st)
	if s := openStore(t, st, box, record.Options{}); !s.Fresh() || s.Box() != record.Box(box) {
		t.Errorf("Fresh = %t, Box = %v", s.Fresh(), s.Box())
	}
	if s := openStore(t, st, box, record.Options{StaleLimit: -1}); s.Fresh() {
		t.Error("fresh, though caches are never to answer by themselves")
	}
}
