package index

import "slices"

// terms numbers the terms of a run, by their hashes. The zero value is ready.
type terms struct {
	counts []uint32 // of each term, how many rows have it
	hashes []uint64
	// slots is a hash table: where a hash would stand, or after that, is its
	// number + 1. At least half of it is 0. The hashes are keyed, so that nobody
	// can make them meet.
	slots []uint32
}

// number returns the number of a term, which is new if it is not known.
func (t *terms) number(hash uint64) uint32 {
	if 2*len(t.hashes) >= len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for ; t.slots[i] != 0; i = (i + 1) & mask {
		if n := t.slots[i] - 1; t.hashes[n] == hash {
			return n
		}
	}
	t.hashes, t.counts = append(t.hashes, hash), append(t.counts, 0)
	t.slots[i] = uint32(len(t.hashes))
	return t.slots[i] - 1
}

func (t *terms) grow() {
	t.slots = make([]uint32, max(64, 4*len(t.hashes)))
	mask := uint64(len(t.slots) - 1)
	for n, hash := range t.hashes {
		i := hash & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = uint32(n + 1)
	}
}

// sorted returns the hashes, ascending.
func (t *terms) sorted() []uint64 {
	hashes := slices.Clone(t.hashes)
	slices.Sort(hashes)
	return hashes
}
