//go:build !race

package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/policy"
)

// many returns a list that fills a key policy of 32 KiB, of what one returns for
// numbers.
func many(before, after string, one func(int) string) string {
	var b strings.Builder
	b.WriteString(before)
	for i := 0; ; i++ {
		next := one(i)
		if b.Len()+len(next)+1+len(after) > 32<<10 {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(next)
	}
	b.WriteString(after)
	return b.String()
}

// letters returns a short name for a number.
func letters(i int) string {
	const all = "abcdefghijklmnopqrstuvwxyz0123456789"
	s := ""
	for {
		s += string(all[i%len(all)])
		if i /= len(all); i == 0 {
			return s
		}
	}
}

// hostile are documents of 32 KiB that compile to as much as somebody could
// make of them.
func hostile() map[string]string {
	const open, end = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{`, `}}]}`
	quoted := func(f func(int) string) func(int) string {
		return func(i int) string { return `"` + f(i) + `"` }
	}
	always := func(s string) func(int) string { return func(int) string { return s } }
	return map[string]string{
		"ARNs of wildcards":     many(open+`"ArnLike":{"a:b":[`, `]}`+end, quoted(always("?:?:?:?:?:?"))),
		"ARNs of stars":         many(open+`"ArnLike":{"a:b":[`, `]}`+end, quoted(always("*:*:*:*:*:*"))),
		"ARNs of all":           many(open+`"ArnLike":{"a:b":[`, `]}`+end, quoted(func(i int) string { return "?*:?*:*?:*a*:*?*:*a?b*" + letters(i) })),
		"ARNs of variables":     many(open+`"ArnLike":{"a:b":[`, `]}`+end, quoted(always("${a}:*:*:?:?:?"))),
		"ARNs with a finder":    many(open+`"ArnLike":{"a:b":[`, `]}`+end, quoted(always("a:b:c:d:e:*?abcdefghijklmnop*"))),
		"texts":                 many(open+`"StringLike":{"a:b":[`, `]}`+end, quoted(letters)),
		"texts without case":    many(open+`"StringEqualsIgnoreCase":{"a:b":[`, `]}`+end, quoted(letters)),
		"wildcards":             many(open+`"StringLike":{"a:b":[`, `]}`+end, quoted(always("*?"))),
		"short segments":        many(open+`"StringLike":{"a:b":["`, `"]}`+end, func(i int) string { return strings.Repeat("?a*", 3) }),
		"long segments":         many(open+`"StringLike":{"a:b":[`, `]}`+end, quoted(always("*?abcdefghijklmnop*"))),
		"one long segment":      many(open+`"StringLike":{"a:b":["*`, `*"]}`+end, func(i int) string { return "?" + string(rune(0x400+i)) }),
		"variables":             many(open+`"StringLike":{"a:b":[`, `]}`+end, quoted(always("${a}"))),
		"many variables":        many(open+`"StringLike":{"a:b":["`, `"]}`+end, func(i int) string { return "${" + letters(i) + "}" }),
		"variables and stars":   many(open+`"StringLike":{"a:b":["`, `"]}`+end, always("${a}*${B}*")),
		"escapes":               many(open+`"StringLike":{"a:b":[`, `]}`+end, quoted(func(i int) string { return "\\n\\n" + letters(i) })),
		"conditions":            many(open+`"StringLike":{`, `}`+end, func(i int) string { return `"a:` + letters(i) + `":""` }),
		"conditions with case":  many(open+`"StringLike":{`, `}`+end, func(i int) string { return `"a:b:` + strings.ToUpper(letters(i)) + `":"?"` }),
		"Null":                  many(open+`"Null":{`, `}`+end, func(i int) string { return `"a:` + letters(i) + `":true` }),
		"numbers":               many(open+`"NumericEquals":{"a:b":[`, `]}`+end, func(i int) string { return fmt.Sprint(i % 10) }),
		"conditions of numbers": many(open+`"NumericEquals":{`, `}`+end, func(i int) string { return `"a:` + letters(i) + `":1` }),
		"dates":                 many(open+`"DateEquals":{"a:b":[`, `]}`+end, func(i int) string { return fmt.Sprint(i % 10) }),
		"addresses":             many(open+`"IpAddress":{"a:b":[`, `]}`+end, quoted(always("::"))),
		"bytes":                 many(open+`"BinaryEquals":{"a:b":[`, `]}`+end, quoted(always("YWFh"))),
		"principals":            many(`{"Statement":[{"Effect":"Deny","Principal":{"AWS":[`, `]},"Action":"*","Resource":"*"}]}`, quoted(always("*"))),
		"others":                many(`{"Statement":[{"Effect":"Deny","Principal":{"CanonicalUser":[`, `]},"Action":"*","Resource":"*"}]}`, quoted(always("a"))),
		"actions":               many(`{"Statement":[{"Effect":"Deny","Principal":"*","Resource":"*","Action":[`, `]}]}`, quoted(always("A:?"))),
		"resources":             many(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":[`, `]}]}`, quoted(always("*"))),
		"statements": many(`{"Statement":[`, `]}`, func(i int) string {
			return `{"Effect":"Deny","Principal":"*","Action":"a:` + letters(i) + `","Resource":"*"}`
		}),
	}
}

// held returns how many bytes a value holds that f returns.
func held(f func() *policy.Policy) int {
	const copies = 8
	var all [copies]*policy.Policy
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		all[i] = f()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	n := (int(after.HeapAlloc) - int(before.HeapAlloc)) / copies
	runtime.KeepAlive(&all)
	return n
}

// TestCost: a policy holds no more memory than it says, and says no more than a
// few times what it holds, whatever the document is. What a document of a KMS
// key compiles to is up to 42 times its size.
func TestCost(t *testing.T) {
	texts := hostile()
	texts["the default one"] = defaultKeyPolicy
	texts["ten statements"] = tenStatements(policy.KeyPolicy)
	for name, text := range texts {
		var p *policy.Policy
		n := held(func() *policy.Policy {
			p = parse(t, strings.Clone(text), policy.KeyPolicy)
			for i := range 80 {
				p.Verdict(&policy.Request{Action: "a:" + letters(i)})
			}
			return p
		})
		cost := p.Cost()
		if n > cost+cost/50+512 || cost > 3*n+8192 || len(text) > 30<<10 && cost > 42*len(text) {
			t.Errorf("%s: holds %d bytes (%d times), and says %d", name, n, n/len(text), cost)
		}
		if testing.Verbose() {
			t.Logf("%-22s text %6d, holds %7d (%4.1f times), says %7d", name, len(text), n, float64(n)/float64(len(text)), cost)
		}
	}
	p := parse(t, texts["the default one"], policy.KeyPolicy)
	many := parse(t, `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/a"},"Action":"kms:*","Resource":"*"}}`, policy.KeyPolicy)
	if bound := many.Bind(map[string]string{"arn:aws:iam::111122223333:user/a": "AIDAALICE"}); bound.Cost() <= many.Cost() || p.Cost() > 5000 {
		t.Errorf("costs: %d, bound %d, of the default policy %d", many.Cost(), bound.Cost(), p.Cost())
	}
}
