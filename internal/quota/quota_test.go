package quota_test

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/quota"
)

const (
	home  = "eu-north-1"
	away  = "us-east-1"
	china = "cn-north-1"
	ours  = "111122223333"
)

// clock is a clock that tests set.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }
func limits(t testing.TB, o quota.Options) *quota.Limits {
	t.Helper()
	o.Regions = []string{home, away, china}
	l, err := quota.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// drain takes tokens one by one until there is none, and returns how many.
func drain(l *quota.Limits, account, region string, c quota.Class) int {
	n := 0
	for l.Take(account, region, c, 1) {
		if n++; n > 1e6 {
			panic("the bucket has no bottom")
		}
	}
	return n
}

// TestRates: a bucket holds a second's calls, and is refilled at the rate.
func TestRates(t *testing.T) {
	createKey := quota.Operation("CreateKey")
	for _, test := range []struct {
		name   string
		rates  map[string]float64
		region string
		class  quota.Class
		full   int           // calls at once
		then   time.Duration // and after this time
		more   int           // so many
	}{
		{"an operation's own", nil, home, createKey, 5, time.Second, 5},
		{"half a second", nil, home, createKey, 5, 500 * time.Millisecond, 2},
		{"what does not fit is lost", nil, home, createKey, 5, time.Hour, 5},
		{"not before the moment", nil, home, createKey, 5, 200*time.Millisecond - 1, 0},
		{"at the moment", nil, home, createKey, 5, 200 * time.Millisecond, 1},
		{"symmetric", nil, home, quota.Symmetric, 10_000, time.Millisecond, 10},
		{"symmetric, a large Region", nil, away, quota.Symmetric, 100_000, time.Millisecond, 100},
		{"pairs", nil, home, quota.KeyPair("RSA_2048"), 20, time.Second, 20},
		{"pairs in China", nil, china, quota.KeyPair("RSA_2048"), 1, time.Second, 1},
		{"less than one a second", nil, china, quota.KeyPair("RSA_4096"), 1, 9 * time.Second, 0},
		{"one in ten seconds", nil, china, quota.KeyPair("RSA_4096"), 1, 10 * time.Second, 1},
		{"set", map[string]float64{"CreateKey": 3}, home, createKey, 3, time.Second, 3},
		{"set, in every Region", map[string]float64{"symmetric": 7}, away, quota.Symmetric, 7, time.Second, 7},
		{"set to a fraction", map[string]float64{"CreateKey": 2.5}, home, createKey, 2, 400 * time.Millisecond, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := newClock()
			l := limits(t, quota.Options{Rates: test.rates, Now: at.now})
			if got := drain(l, ours, test.region, test.class); got != test.full {
				t.Errorf("at once: %d calls, want %d", got, test.full)
			}
			at.advance(test.then)
			if got := drain(l, ours, test.region, test.class); got != test.more {
				t.Errorf("after %v: %d calls, want %d", test.then, got, test.more)
			}
		})
	}
}

// TestSeparate: no account, Region or class uses up what is another's.
func TestSeparate(t *testing.T) {
	l := limits(t, quota.Options{Now: newClock().now})
	createKey := quota.Operation("CreateKey")
	if got := drain(l, ours, home, createKey); got != 5 {
		t.Fatalf("%d calls, want 5", got)
	}
	for _, other := range []struct {
		account, region string
		class           quota.Class
	}{{"444455556666", home, createKey}, {ours, away, createKey}, {ours, home, quota.Operation("CreateAlias")}} {
		if got := drain(l, other.account, other.region, other.class); got != 5 {
			t.Errorf("%v: %d calls, want 5", other, got)
		}
	}
	if l.Take(ours, home, createKey, 1) {
		t.Error("others' buckets refilled this one")
	}
}

// TestSeveral: several tokens are taken all or not at all, and a full bucket has
// enough for any number.
func TestSeveral(t *testing.T) {
	at := newClock()
	l := limits(t, quota.Options{Now: at.now, Rates: map[string]float64{"CreateKey": 1}})
	replicate, create := quota.Operation("ReplicateKey"), quota.Operation("CreateKey")
	for _, want := range []bool{true, true, false} { // of 5
		if got := l.Take(ours, home, replicate, 2); got != want {
			t.Errorf("two of five: %v, want %v", got, want)
		}
	}
	if got := drain(l, ours, home, replicate); got != 1 {
		t.Errorf("%d are left, want 1", got)
	}
	if !l.Take(ours, home, create, 2) {
		t.Error("a full bucket of one has no room for two")
	}
	at.advance(time.Second)
	if l.Take(ours, home, create, 1) {
		t.Error("what was taken in advance came back too soon")
	}
	at.advance(time.Second)
	if !l.Take(ours, home, create, 1) {
		t.Error("after two seconds there is no token")
	}
}

// TestNotCounted: what is of no class, and in no Region of ours, is not limited
// and takes no memory.
func TestNotCounted(t *testing.T) {
	l := limits(t, quota.Options{Now: newClock().now, Rates: map[string]float64{"CreateKey": 1}})
	for range 10 {
		if !l.Take(ours, home, quota.None, 1) || !l.Take(ours, "eu-south-99", quota.Operation("CreateKey"), 1) {
			t.Fatal("was limited")
		}
	}
	if n := l.Accounts(); n != 0 {
		t.Errorf("%d accounts are kept", n)
	}
}

// TestClockSetBack: who sets the clock back gains nothing by it, and loses a
// second, not the time until the clock has come so far again.
func TestClockSetBack(t *testing.T) {
	at := newClock()
	l := limits(t, quota.Options{Now: at.now})
	c := quota.Operation("CreateKey")
	drain(l, ours, home, c)
	at.advance(-time.Hour)
	if got := drain(l, ours, home, c); got != 0 {
		t.Errorf("just after: %d calls", got)
	}
	at.advance(400 * time.Millisecond)
	if got := drain(l, ours, home, c); got != 2 {
		t.Errorf("0.4 s after: %d calls, want 2", got)
	}
}

// TestConcurrent: however many call at once, no token is taken twice, and none
// is lost.
func TestConcurrent(t *testing.T) {
	at := newClock()
	l := limits(t, quota.Options{Now: at.now, Rates: map[string]float64{"DescribeKey": 500}})
	c := quota.Operation("DescribeKey")
	const accounts = 3
	var taken [accounts]atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 3000 {
				if who := i % accounts; l.Take(strconv.Itoa(who), home, c, 1) {
					taken[who].Add(1)
				}
			}
		})
	}
	all.Wait()
	for who := range taken {
		if got := taken[who].Load(); got != 500 {
			t.Errorf("account %d: %d calls, want 500", who, got)
		}
	}
	for _, r := range l.Refused() {
		want := uint64(0)
		if r.Quota == "DescribeKey" {
			want = 8*3000 - accounts*500
		}
		if r.Calls != want {
			t.Errorf("%s: %d refused, want %d", r.Quota, r.Calls, want)
		}
	}
}

// TestIdle: accounts that have been quiet are forgotten when others come, and
// those that have not are kept as they are.
func TestIdle(t *testing.T) {
	at := newClock()
	l := limits(t, quota.Options{Now: at.now, Rates: map[string]float64{"CreateKey": 0.001}})
	c := quota.Operation("ListKeys")
	const many = 500
	for i := range many {
		l.Take(strconv.Itoa(i), home, c, 1)
	}
	l.Take("busy", home, quota.Operation("CreateKey"), 1) // full again in 1000 s
	if n := l.Accounts(); n != many+1 {
		t.Fatalf("%d accounts are kept, want %d", n, many+1)
	}
	at.advance(2 * time.Minute)
	for i := range many {
		l.Take("new"+strconv.Itoa(i), home, c, 1)
	}
	if n := l.Accounts(); n != many+1 {
		t.Errorf("%d accounts are kept, want %d", n, many+1)
	}
	if l.Take("busy", home, quota.Operation("CreateKey"), 1) {
		t.Error("a bucket that is not full was forgotten")
	}
}

func TestClasses(t *testing.T) {
	for name, want := range map[string]string{
		"SYMMETRIC_DEFAULT": "symmetric", "HMAC_384": "symmetric", "RSA_2048": "rsa", "ECC_NIST_P256": "ecc", "ECC_SECG_P256K1": "ecc",
		"ECC_NIST_EDWARDS25519": "ecc", "SM2": "ecc", "ML_DSA_65": "ml-dsa", "ML_KEM_768": "ml-kem",
		"RSAES_OAEP_SHA_1": "rsa", "RSASSA_PSS_SHA_512": "rsa", "ECDSA_SHA_256": "ecc", "ECDH": "ecc", "ED25519_PH_SHA_512": "ecc", "SM2DSA": "ecc",
		"SM2PKE": "ecc", "ML_DSA_SHAKE_256": "ml-dsa", "HMAC_SHA_256": "symmetric",
	} {
		if c := quota.Kind(name); c.String() != want || !c.ByKey() {
			t.Errorf("Kind(%s) = %v, want %s", name, c, want)
		}
	}
	for _, name := range []string{"Decrypt", "Sign", "GenerateRandom", "GenerateDataKeyPair", "rsa", ""} {
		if c := quota.Operation(name); c != quota.None {
			t.Errorf("Operation(%s) = %v, want none", name, c)
		}
	}
	if c := quota.Operation("ListKeys"); c.String() != "ListKeys" || c.ByKey() {
		t.Errorf("Operation(ListKeys) = %v", c)
	}
	if c := quota.KeyPair("RSA_1024"); c != quota.None {
		t.Errorf("KeyPair(RSA_1024) = %v", c)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		rates map[string]float64
		want  string
	}{
		{nil, ""},
		{map[string]float64{"symmetric": 1e6, "GenerateDataKeyPair/RSA_4096": 0.001, "LookupEvents": 2}, ""},
		{map[string]float64{"Decrypt": 1}, `"Decrypt" is not the name of a quota`},
		{map[string]float64{"": 1}, `"" is not the name of a quota`},
		{map[string]float64{"rsa": 0}, "rsa: must be from 0.001 to 1e+06 calls per second"},
		{map[string]float64{"rsa": -1}, "rsa: must be from 0.001 to 1e+06 calls per second"},
		{map[string]float64{"rsa": math.NaN()}, "rsa: must be from 0.001 to 1e+06 calls per second"},
		{map[string]float64{"rsa": math.Inf(1)}, "rsa: must be from 0.001 to 1e+06 calls per second"},
	} {
		got := ""
		if err := quota.Check(test.rates); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("Check(%v) = %q, want %q", test.rates, got, test.want)
		}
		if _, err := quota.New(quota.Options{Rates: test.rates}); (err != nil) != (test.want != "") {
			t.Errorf("New with %v: %v", test.rates, err)
		}
	}
}

// TestManual: the manual has every quota, with what it is if nobody sets it.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/quotas.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]string) // rates, as they stand there, by name
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			told[strings.Trim(name, " `")] = strings.TrimSpace(cells[2])
		}
	}
	l := limits(t, quota.Options{})
	for _, q := range l.Refused() {
		if want := quota.Default(q.Quota); told[q.Quota] != want {
			t.Errorf("docs/quotas.md says of %s %q, want %q", q.Quota, told[q.Quota], want)
		}
		delete(told, q.Quota)
	}
	for name := range told {
		if !strings.HasPrefix(name, "quotas.") {
			t.Errorf("docs/quotas.md has %s, which is no quota", name)
		}
	}
}

// TestOracle: whatever comes when, a bucket of tokens gives the same answers.
func TestOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	for range 60 {
		perSecond := []float64{0.1, 0.5, 1, 2, 2.5, 5, 50, 1000}[random.IntN(8)]
		interval := time.Duration(float64(time.Second) / perSecond)
		at := newClock()
		l := limits(t, quota.Options{Now: at.now, Rates: map[string]float64{"CreateKey": perSecond}})
		depth := max(time.Second, interval) // of the bucket; a token takes an interval
		level := depth
		for step := range 300 {
			if random.IntN(3) == 0 {
				d := time.Duration(random.Int64N(int64(2 * depth)))
				at.advance(d)
				level = min(depth, level+d)
			}
			n := 1 + random.IntN(2)
			wanted := time.Duration(n) * interval
			want := level >= min(wanted, depth)
			if got := l.Take(ours, home, quota.Operation("CreateKey"), n); got != want {
				t.Fatalf("%v per second, step %d: %d of %v: %v, want %v", perSecond, step, n, level, got, want)
			}
			if want {
				level -= wanted
			}
		}
	}
}

// TestForgottenWhileUsed: accounts come and go while others call.
func TestForgottenWhileUsed(t *testing.T) {
	at := newClock()
	l := limits(t, quota.Options{Now: at.now})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 300 {
				if g == 0 {
					at.advance(time.Second)
				}
				l.Take(strconv.Itoa(i%7), home, quota.Symmetric, 1)
				l.Take(strconv.Itoa(g)+"-"+strconv.Itoa(i), home, quota.RSA, 1)
			}
		})
	}
	all.Wait()
	at.advance(time.Hour)
	for i := range 1000 {
		l.Take("last"+strconv.Itoa(i), home, quota.RSA, 1)
	}
	if n := l.Accounts(); n != 1000 {
		t.Errorf("%d accounts are kept, want 1000", n)
	}
}
