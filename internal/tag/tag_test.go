package tag_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/tag"
	"github.com/keyreeve/keyreeve/policy"
)

func TestValue(t *testing.T) {
	tags := []call.Pair{{Name: "Team", Value: "a"}, {Name: "team", Value: "b"}, {Name: "empty"}, {Name: "Straße", Value: "c"}}
	// What a policy makes of the value tells what it is.
	is := func(v policy.Value, want string) bool {
		p, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"x:tag":"`+want+`"}}}}`, policy.Options{Type: policy.Identity})
		if err != nil {
			t.Fatal(err)
		}
		return p.Verdict(&policy.Request{Action: "x:Do", Resource: "*", Context: policy.Values{"x:tag": v}}).Allow
	}
	for key, want := range map[string]string{"Team": "a", "team": "a", "TEAM": "a", "EMPTY": "", "straße": "c"} {
		if v := tag.Value(tags, key); !v.Exists() || !is(v, want) {
			t.Errorf("%s is not %q", key, want)
		}
	}
	for _, key := range []string{"", "Tea", "Team ", "strasse"} {
		if tag.Value(tags, key).Exists() {
			t.Errorf("there is a tag %q", key)
		}
	}
}

func TestReserved(t *testing.T) {
	for key, want := range map[string]bool{
		"aws:": true, "aws:cloudformation:stack-name": true, "AWS:x": true, "aWs:x": true, "aw\u017f:x": true,
		"aws": false, "": false, ":": false, "awsx:y": false, " aws:x": false, "x:aws:y": false, "aw:s": false,
	} {
		if tag.Reserved(key) != want {
			t.Errorf("%q is reserved: %t", key, !want)
		}
	}
}
