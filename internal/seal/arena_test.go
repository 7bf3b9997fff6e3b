package seal_test

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/keyreeve/keyreeve/internal/seal"
)

func TestArena(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 100 << 10}) // two chunks
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const capacity = 2 * (64 << 10) / seal.SlotSize
	if s := a.Stats(); s.Capacity != capacity || s.Used != 0 || s.Bytes != 64<<10 {
		t.Errorf("Stats = %+v", s)
	}
	seen := make(map[*byte]bool)
	var slots []*seal.Slot
	for range capacity {
		s, err := a.Get()
		if err != nil {
			t.Fatal(err)
		}
		b := s.Bytes()
		if len(b) != seal.SlotSize || cap(b) != seal.SlotSize || seen[&b[0]] || uintptr(unsafe.Pointer(&b[0]))%seal.SlotSize != 0 {
			t.Fatalf("slot of %d bytes at %p, seen %v", len(b), &b[0], seen[&b[0]])
		}
		seen[&b[0]] = true
		for i := range b {
			b[i] = 0xaa
		}
		slots = append(slots, s)
	}
	if _, err := a.Get(); !errors.Is(err, seal.ErrArenaFull) {
		t.Errorf("Get of a full arena: %v", err)
	}
	b := slots[0].Bytes()
	slots[0].Free()
	slots[0].Free()
	if !bytes.Equal(b, make([]byte, seal.SlotSize)) {
		t.Error("a freed slot was not wiped")
	}
	again, err := a.Get()
	if err != nil {
		t.Fatal(err)
	}
	if &again.Bytes()[0] != &b[0] {
		t.Error("the one free slot was not the one that was given")
	}
	if _, err := a.Get(); !errors.Is(err, seal.ErrArenaFull) {
		t.Errorf("a slot freed twice was given twice: %v", err)
	}
	slots[0].Free() // late, once more: it must not touch its successor
	again.Bytes()[0] = 7
	slots[0].Free()
	if again.Bytes()[0] != 7 {
		t.Error("freeing an old slot wiped the new one")
	}
	kept := slots[1].Bytes()
	a.Close()
	if kept[0] != 0 {
		t.Error("Close left a slot unwiped")
	}
	slots[1].Free()
	if _, err := a.Get(); !errors.Is(err, seal.ErrArenaFull) {
		t.Errorf("Get of a closed arena: %v", err)
	}
}

func TestArenaConcurrent(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var mine []*seal.Slot
			for i := range 5000 {
				if i%3 != 2 {
					s, err := a.Get()
					if errors.Is(err, seal.ErrArenaFull) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if s.Bytes()[0] != 0 {
						t.Error("a slot came unwiped")
					}
					s.Bytes()[0] = byte(g + 1)
					mine = append(mine, s)
				} else if n := len(mine); n > 0 {
					if mine[n-1].Bytes()[0] != byte(g+1) {
						t.Error("two share a slot")
					}
					mine[n-1].Free()
					mine = mine[:n-1]
				}
			}
			for _, s := range mine {
				s.Free()
			}
		})
	}
	wg.Wait()
	if s := a.Stats(); s.Used != 0 {
		t.Errorf("Stats = %+v, want none used", s)
	}
}

func TestArenaRequired(t *testing.T) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 1, Required: true})
	if runtime.GOOS != "linux" {
		if !errors.Is(err, seal.ErrNotLocked) {
			t.Errorf("NewArena = %v, want ErrNotLocked", err)
		}
		return
	}
	if errors.Is(err, seal.ErrNotLocked) {
		t.Skipf("this machine locks no memory: %v", err)
	}
	if err != nil || !a.Locked() {
		t.Errorf("NewArena = %v, locked %v", err, a.Locked())
	}
}

func BenchmarkArena(b *testing.B) {
	a, err := seal.NewArena(seal.ArenaOptions{Size: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := a.Get()
			if err != nil {
				b.Error(err)
				return
			}
			s.Free()
		}
	})
}
