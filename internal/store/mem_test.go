package store_test

import (
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMem() })
}

func BenchmarkMem(b *testing.B) {
	s := store.NewMem()
	key := func(i int) string { return fmt.Sprintf("v1/key/111122223333/us-east-1/%036d", i) }
	const keys = 100_000
	val := make([]byte, 700)
	for i := 0; i < keys; i += store.MaxOps {
		var ops []store.Op
		for j := range store.MaxOps {
			ops = append(ops, store.Op{Key: key(i + j), Val: val})
		}
		if _, _, err := s.Commit(b.Context(), nil, ops); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Get", func(b *testing.B) {
		k := key(77777)
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = s.Get(b.Context(), k)
		}
	})
	b.Run("Commit", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			_, _, _ = s.Commit(b.Context(), nil, []store.Op{{Key: key(i % keys), Val: val}})
		}
	})
}
