package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/node"
	"github.com/keyreeve/keyreeve/internal/store"
)

// rotations returns the materials of a key that are there by rotation.
func (r *running) rotations(t testing.TB, id string) []any {
	t.Helper()
	return r.must(t, "ListKeyRotations", object{"KeyId": id})["Rotations"].([]any)
}

// inTurn puts rotations in the order in which one followed the other: records that
// are in the archive already are read last.
func inTurn(all []trace) (list []trace) {
	follows, made := map[string]trace{}, map[string]bool{}
	for _, one := range all {
		follows[one.Details["previousKeyMaterialId"]] = one
		made[one.Details["currentKeyMaterialId"]] = true
	}
	for first, one := range follows {
		if made[first] {
			continue
		}
		for is := true; is; one, is = follows[one.Details["currentKeyMaterialId"]] {
			list = append(list, one)
		}
	}
	return list
}

// TestRotation: a key rotates on its day, with an event, and once; what was
// missed while it was disabled is made up for when it is enabled; and all that was
// ever encrypted is decrypted, after a restart, too.
func TestRotation(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	id := r.create(t, nil)
	var blobs []string
	encrypt := func() {
		t.Helper()
		blobs = append(blobs, str(r.must(t, "Encrypt", object{"KeyId": id, "Plaintext": "YQ=="}), "CiphertextBlob"))
	}
	opens := func() {
		t.Helper()
		materials := map[string]bool{}
		for _, blob := range blobs {
			answer := r.must(t, "Decrypt", object{"CiphertextBlob": blob})
			if str(answer, "Plaintext") != "YQ==" {
				t.Errorf("decrypted: %v", answer)
			}
			materials[str(answer, "KeyMaterialId")] = true
		}
		if len(materials) != len(blobs) {
			t.Errorf("%d ciphertexts of %d materials", len(blobs), len(materials))
		}
	}
	encrypt()
	r.must(t, "EnableKeyRotation", object{"KeyId": id, "RotationPeriodInDays": 90})
	c.pass(90*aDay - time.Minute)
	if n := len(r.rotations(t, id)); n != 0 {
		t.Fatalf("rotated %d times", n)
	}
	c.pass(time.Minute)
	eventually(t, "the key is rotated", func() bool { return len(r.rotations(t, id)) == 1 })
	encrypt()
	r.must(t, "RotateKeyOnDemand", object{"KeyId": id})
	encrypt()
	r.must(t, "DisableKey", object{"KeyId": id})
	c.pass(200 * aDay)
	r.stop(t)

	r = run(t, configure(dir, c.use))
	if n := len(r.rotations(t, id)); n != 2 {
		t.Fatalf("rotated %d times while it was disabled", n-2)
	}
	if err := r.control().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.must(t, "EnableKey", object{"KeyId": id})
	eventually(t, "what was missed is made up for", func() bool { return len(r.rotations(t, id)) == 3 })
	encrypt()
	opens()
	r.stop(t)

	r = run(t, configure(dir, c.use))
	opens()
	if n := len(r.rotations(t, id)); n != 3 {
		t.Errorf("rotated %d times", n)
	}
	var types []string
	all := inTurn(traces(t, dir, "RotateKey"))
	for i, one := range all {
		types = append(types, one.Details["rotationType"])
		if !strings.HasSuffix(one.Resources[0].ARN, id) || one.Details["keyOrigin"] != "AWS_KMS" || i > 0 && one.Details["previousKeyMaterialId"] != all[i-1].Details["currentKeyMaterialId"] {
			t.Errorf("%+v", one)
		}
	}
	if got := strings.Join(types, " "); got != "AUTOMATIC ON_DEMAND AUTOMATIC" {
		t.Errorf("events: %s", got)
	}
	if calls := traces(t, dir, "RotateKeyOnDemand"); len(calls) != 1 {
		t.Errorf("calls: %+v", calls)
	}
}

// A machine that fails right after a rotation on demand has the records of both
// when it starts again: of the call, and of the rotation.
func TestRotationWithoutARecord(t *testing.T) {
	dir, picture := t.TempDir(), t.TempDir()
	var c camera
	r := run(t, configure(dir, func(cfg *node.Config) {
		cfg.WrapStore(func(s store.Store) store.Store { c.Store = s; return &c })
	}))
	id := r.create(t, nil)
	c.mu.Lock()
	c.ready, c.take = true, func() {
		if err := copyFiles(picture, dir); err != nil {
			t.Error(err)
		}
	}
	c.mu.Unlock()
	r.must(t, "RotateKeyOnDemand", object{"KeyId": id})
	r.stop(t)
	names := []string{"RotateKey", "RotateKeyOnDemand"}
	for _, name := range names {
		if all := traces(t, picture, name); len(all) != 0 {
			t.Fatalf("the picture was taken too late: %+v", all)
		}
	}
	for range 2 {
		again := run(t, configure(picture))
		for _, name := range names {
			if all := traces(t, picture, name); len(all) != 1 || !strings.HasSuffix(all[0].Resources[0].ARN, id) {
				t.Errorf("%s: %+v", name, all)
			}
		}
		again.stop(t)
	}
}
