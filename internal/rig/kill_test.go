//go:build rig

package rig_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	kills   = 10
	writes  = 10_000 // acknowledged, in all
	writers = 8
	readers = 4
)

// key is what is known of a key: what the server acknowledged.
type key struct {
	id, description string
	tags            map[string]string
	aliases         map[string]bool
	pending         bool // its deletion is scheduled
	kept            bool // it is not to be changed
}

func (k *key) clone() *key {
	c := *k
	c.tags, c.aliases = maps.Clone(k.tags), maps.Clone(k.aliases)
	return &c
}

func (k *key) equal(o *key) bool {
	return k.id == o.id && k.description == o.description && k.pending == o.pending && maps.Equal(k.tags, o.tags) && maps.Equal(k.aliases, o.aliases)
}

// A writer changes keys of its own, one call at a time.
type writer struct {
	name string
	r    *rand.Rand
	keys []*key
	made int

	// What was under way when the server died: a key that may or may not have
	// been made, or a key that may or may not have been changed.
	maybeMade    string // its description
	maybeChanged *key
	maybe        *key // how it would look then
}

// write makes one change and notes it if it was acknowledged. It returns false
// when the server is gone.
func (w *writer) write(ctx context.Context, s *server) (bool, error) {
	var open []*key
	for _, k := range w.keys {
		if !k.pending && !k.kept {
			open = append(open, k)
		}
	}
	w.made++
	unique := fmt.Sprintf("%s-%d", w.name, w.made)
	if len(open) == 0 || w.r.IntN(5) < 2 {
		out, err := s.call(ctx, "CreateKey", object{"Description": unique, "Tags": []object{{"TagKey": "born", "TagValue": unique}}})
		if err != nil {
			w.maybeMade = unique
			return gone(err)
		}
		w.keys = append(w.keys, &key{
			id: out.obj("KeyMetadata").str("KeyId"), description: unique,
			tags: map[string]string{"born": unique}, aliases: map[string]bool{},
		})
		return true, nil
	}

	k := open[w.r.IntN(len(open))]
	changed := k.clone()
	var operation string
	in := object{"KeyId": k.id}
	switch p := w.r.IntN(20); {
	case p < 8:
		operation = "TagResource"
		name := fmt.Sprintf("t%d", w.r.IntN(10))
		in["Tags"] = []object{{"TagKey": name, "TagValue": unique}}
		changed.tags[name] = unique
	case p < 14 && len(k.aliases) < 40:
		operation = "CreateAlias"
		in = object{"AliasName": "alias/" + unique, "TargetKeyId": k.id}
		changed.aliases["alias/"+unique] = true
	case p < 16 && len(k.aliases) > 0:
		operation = "DeleteAlias"
		name := slices.Sorted(maps.Keys(k.aliases))[0]
		in = object{"AliasName": name}
		delete(changed.aliases, name)
	case p < 18:
		operation = "UpdateKeyDescription"
		in["Description"] = unique
		changed.description = unique
	default:
		operation = "ScheduleKeyDeletion"
		changed.pending = true
	}
	if _, err := s.call(ctx, operation, in); err != nil {
		w.maybeChanged, w.maybe = k, changed
		return gone(err)
	}
	*k = *changed
	return true, nil
}

// gone turns the error of a call into the end of a round: a server that died
// is what the rig is for, one that answered an error has failed the test.
func gone(err error) (bool, error) {
	var f *fault
	if errors.As(err, &f) {
		return false, err
	}
	return false, nil
}

// TestKill kills the server at random moments while it acknowledges writes and
// reads. It starts again by itself, and nothing that it acknowledged is missing:
// no change, and no record of an answered call. Nor is the record of a change
// that stands, whether or not anybody was told of it.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	in := install(t)
	bob := in.peopled(t)
	all := make([]*writer, writers)
	for i := range all {
		all[i] = &writer{name: fmt.Sprintf("w%d", i), r: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	r := rand.New(rand.NewPCG(seed, writers))

	using := make([]*reader, readers)
	for i := range using {
		using[i] = &reader{r: rand.New(rand.NewPCG(seed, uint64(writers+1+i)))}
	}

	var calls []answered
	var acknowledged int64
	for round := range kills {
		s := in.start(t)
		if round == 0 {
			share(t, s, bob)
			for _, rd := range using {
				rd.own = s.must(t, "CreateKey", object{"Description": "of a reader", "Tags": []object{{"TagKey": "born", "TagValue": "of a reader"}}}).obj("KeyMetadata").str("KeyId")
				all[0].keys = append(all[0].keys, &key{
					id: rd.own, description: "of a reader", tags: map[string]string{"born": "of a reader"}, aliases: map[string]bool{}, kept: true,
				})
			}
		}
		// The last round makes up for what is left of the writes.
		goal := int64(writes/kills/2) + r.Int64N(writes/kills)
		if round == kills-1 {
			goal = max(goal, writes-acknowledged)
		}
		var count atomic.Int64
		failed := make(chan error, writers+readers)
		var done sync.WaitGroup
		for _, w := range all {
			done.Go(func() {
				for {
					ok, err := w.write(t.Context(), s)
					if err != nil {
						failed <- fmt.Errorf("%s: %w", w.name, err)
					}
					if !ok {
						return
					}
					count.Add(1)
				}
			})
		}
		for _, rd := range using {
			done.Go(func() {
				for {
					ok, err := rd.read(t.Context(), s)
					if err != nil {
						failed <- err
					}
					if !ok {
						return
					}
				}
			})
		}
		deadline := time.Now().Add(2 * time.Minute)
		for count.Load() < goal && len(failed) == 0 && time.Now().Before(deadline) {
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(time.Duration(r.Int64N(int64(10 * time.Millisecond))))
		s.kill()
		done.Wait()
		close(failed)
		for err := range failed {
			t.Errorf("round %d: %v", round, err)
		}
		if n := count.Load(); n < goal {
			t.Fatalf("round %d: %d writes in two minutes, want %d\n%s", round, n, goal, in.tail())
		}
		acknowledged += count.Load()
		calls = append(calls, s.answered...)

		began := time.Now()
		s = in.start(t)
		started := time.Since(began)
		for _, problem := range verify(t, s, all) {
			t.Errorf("after kill %d: %s", round+1, problem)
		}
		s.verified(t, in)
		s.kill() // idle, but no less sudden
		calls = append(calls, s.answered...)
		if t.Failed() {
			t.FailNow()
		}
		t.Logf("kill %d: %d writes acknowledged so far, started again in %v", round+1, acknowledged, started.Round(time.Millisecond))
	}
	if acknowledged < writes {
		t.Errorf("%d writes acknowledged, want %d", acknowledged, writes)
	}

	// Once more, so that whatever a start repairs is repaired.
	s := in.start(t)
	in.delivered(t)
	s.verified(t, in)
	s.stop(t)
	for _, rd := range using {
		calls = append(calls, rd.completed...)
	}
	recorded := in.trail(t)
	for _, problem := range recorded.missing(calls) {
		t.Error(problem)
	}
	for _, problem := range recorded.standing(all) {
		t.Error(problem)
	}
	t.Logf("%d calls answered, %d records", len(calls), recorded.entries)
}

// verify compares what the server has with what it acknowledged, and settles
// what was under way when it died: either outcome is right, half of one is not.
func verify(t *testing.T, s *server, all []*writer) (problems []string) {
	t.Helper()
	expected := make(map[string]*key)
	owner := make(map[string]*writer)
	for _, w := range all {
		for _, k := range w.keys {
			expected[k.id] = k
			owner[k.id] = w
		}
	}
	aliases := make(map[string]map[string]bool)
	for _, a := range s.pages(t, "ListAliases", "Aliases", object{"Limit": 100}) {
		id := a.str("TargetKeyId")
		if aliases[id] == nil {
			aliases[id] = make(map[string]bool)
		}
		aliases[id][a.str("AliasName")] = true
	}

	listed := s.pages(t, "ListKeys", "Keys", object{"Limit": 1000})
	var mu sync.Mutex
	problem := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, fmt.Sprintf(format, args...))
	}
	found := make(map[string]bool)
	work := make(chan string)
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			for id := range work {
				actual, err := look(t.Context(), s, id, aliases[id])
				if err != nil {
					problem("key %s: %v", id, err)
					continue
				}
				want, w := expected[id], owner[id]
				switch {
				case want == nil:
					mu.Lock()
					adopted := adopt(all, actual)
					mu.Unlock()
					if !adopted {
						problem("key %s (%s) was never asked for", id, actual.description)
					}
				case actual.equal(want):
				case w.maybeChanged == want && actual.equal(w.maybe):
					*want = *actual
				default:
					problem("key %s is %+v, acknowledged was %+v", id, *actual, *want)
				}
			}
		})
	}
	for _, k := range listed {
		id := k.str("KeyId")
		if found[id] {
			problem("key %s is listed twice", id)
			continue
		}
		found[id] = true
		work <- id
	}
	close(work)
	done.Wait()
	for id, k := range expected {
		if !found[id] {
			problem("key %s (%s) is gone", id, k.description)
		}
		// The alias index of a key and the aliases themselves are two records.
		if len(k.aliases) > 0 {
			byKey := make(map[string]bool)
			for _, a := range s.pages(t, "ListAliases", "Aliases", object{"KeyId": id, "Limit": 100}) {
				byKey[a.str("AliasName")] = true
			}
			if !maps.Equal(byKey, k.aliases) {
				problem("key %s has the aliases %v by the key, %v by name", id, byKey, k.aliases)
			}
		}
	}
	for _, w := range all {
		w.maybeMade, w.maybeChanged, w.maybe = "", nil, nil
	}
	return problems
}

// adopt gives a key to the writer that may have made it.
func adopt(all []*writer, actual *key) bool {
	for _, w := range all {
		if w.maybeMade != "" && w.maybeMade == actual.description && actual.tags["born"] == actual.description && len(actual.aliases) == 0 && !actual.pending {
			w.keys = append(w.keys, actual)
			w.maybeMade = ""
			return true
		}
	}
	return false
}

// look asks the server what a key is.
func look(ctx context.Context, s *server, id string, aliases map[string]bool) (*key, error) {
	out, err := s.call(ctx, "DescribeKey", object{"KeyId": id})
	if err != nil {
		return nil, err
	}
	metadata := out.obj("KeyMetadata")
	k := &key{id: id, description: metadata.str("Description"), tags: make(map[string]string), aliases: aliases}
	if k.aliases == nil {
		k.aliases = make(map[string]bool)
	}
	switch state := metadata.str("KeyState"); state {
	case "Enabled":
		// The material is there too, and opens.
		if _, err := s.call(ctx, "GenerateDataKey", object{"KeyId": id, "NumberOfBytes": 16}); err != nil {
			return nil, err
		}
	case "PendingDeletion":
		k.pending = true
	default:
		return nil, fmt.Errorf("state %s", state)
	}
	if out, err = s.call(ctx, "ListResourceTags", object{"KeyId": id}); err != nil {
		return nil, err
	}
	for _, tag := range out.list("Tags") {
		k.tags[tag.str("TagKey")] = tag.str("TagValue")
	}
	return k, nil
}
