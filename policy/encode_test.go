package policy_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/policy"
)

// A value that was encoded is the same again, to every operator.
func TestValueText(t *testing.T) {
	for _, v := range []policy.Value{
		{},
		policy.String(""), policy.String("x\n\"ü"), policy.Bool(true), policy.Strings([]string{"a", "", `b"`}), policy.Number(-1.5e300), policy.Number(365),
		policy.Number(math.Inf(1)), policy.Time(time.Unix(1e9, 123456789)), policy.Time(time.Unix(-5, 1)), policy.Addr(netip.MustParseAddr("198.51.100.7")), policy.Addr(netip.MustParseAddr("2001:db8::1")),
	} {
		text, err := v.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got policy.Value
		if err := got.UnmarshalText(text); err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", v) {
			t.Errorf("%#v: %s: %#v, %v", v, text, got, err)
		}
	}
	for _, text := range []string{"x", "nx", "t1", "t1.1000000000", "tx.1", "a1", "l{}", "l", "-"} {
		var v policy.Value
		if err := v.UnmarshalText([]byte(text)); err == nil || v.Exists() {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
}

func TestValueTexts(t *testing.T) {
	for want, v := range map[string]policy.Value{
		`[]`: {}, `["a" "b"]`: policy.Strings([]string{"a", "b"}), `["7"]`: policy.Number(7), `[""]`: policy.String(""), `["2001-09-09T01:46:40Z"]`: policy.Time(time.Unix(1e9, 5)),
	} {
		if got := fmt.Sprintf("%q", v.Texts()); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
