package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
)

// TestHubForgets: the history is bounded in number and in size, and a watcher
// from before it, or that falls behind it, is told so.
func TestHubForgets(t *testing.T) {
	for _, c := range []struct {
		name    string
		keys    []string
		publish int
	}{
		{"many", []string{"k"}, 20000},
		{"large", []string{strings.Repeat("k", 1000), strings.Repeat("l", 1000)}, 6000},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := store.NewHub(100)
			defer h.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			slow, err := h.Watch(ctx, "", 101)
			if err != nil {
				t.Fatal(err)
			}
			for range c.publish {
				h.Publish(append([]string(nil), c.keys...))
			}
			want := store.Rev(101)
			for b := range slow {
				if errors.Is(b.Err, store.ErrCompacted) {
					want = -1
					continue
				}
				if b.Rev != want || b.Err != nil {
					t.Fatalf("batch %d, %v, want %d", b.Rev, b.Err, want)
				}
				want++
			}
			if want != -1 {
				t.Errorf("a slow watch ended at %d without ErrCompacted", want)
			}
			ch, _ := h.Watch(ctx, "", 100)
			if b := <-ch; !errors.Is(b.Err, store.ErrCompacted) {
				t.Errorf("watch from before the hub began with %+v", b)
			}
			recent := store.Rev(100 + c.publish - 1000)
			ch, _ = h.Watch(ctx, "", recent)
			for rev := recent; rev < recent+1001; rev++ {
				if b := <-ch; b.Rev != rev || b.Err != nil {
					t.Fatalf("watch from %d: batch %d, %v, want %d", recent, b.Rev, b.Err, rev)
				}
			}
		})
	}
}

func TestHubKeepsOneLargeBatch(t *testing.T) {
	h := store.NewHub(0)
	defer h.Close()
	h.Publish([]string{strings.Repeat("k", 20<<20)})
	ch, err := h.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if b := <-ch; b.Rev != 1 || b.Err != nil {
		t.Errorf("batch %d, %v", b.Rev, b.Err)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, watchers := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			h := store.NewHub(0)
			defer h.Close()
			for range watchers {
				ch, _ := h.Watch(b.Context(), "", 1)
				go func() {
					for range ch {
					}
				}()
			}
			for b.Loop() {
				h.Publish([]string{"v1/key/111122223333/us-east-1/1234abcd-12ab-34cd-56ef-1234567890ab"})
			}
		})
	}
}
