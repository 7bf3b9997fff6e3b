package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/store/boltstore"
	"github.com/keyreeve/keyreeve/internal/store/storetest"
)

func open(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, filepath.Join(t.TempDir(), "store.db"), func(t *testing.T, path string) store.Store { return open(t, path) })
}
