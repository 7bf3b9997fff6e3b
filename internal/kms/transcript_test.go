package kms_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// TestTranscripts plays testdata/*.txt: each is a conversation with the service.
//
//	# a comment
//	as bob               the next calls are bob's; at first they are alice's
//	in us-west-2         and go to another Region
//	wait 168h            time passes, and what is due for keys is done
//	settle               multi-Region keys that are being made, or have another primary, are so
//	wrap one for $public as $wrapped    material of 32 bytes, as RSAES_OAEP_SHA_256 has it
//	> DescribeKey {"KeyId": "$id"}
//	< {"KeyMetadata": {"KeyId": "$id", "Arn": "arn:…:key/$id", …}}
//	< {"__type": "NotFoundException", "message": "…"}
//
// The answer is compared member by member: none may be missing or be more.
// Requests and answers may go on in further lines, which are indented. A name
// with a dollar sign in an answer stands for a string or number that is not
// known in advance, and from then on for that value; "$_" stands for anything
// each time. {{blob 10}} is 10 bytes in base64, {{text 10}} 10 characters. An
// answer without a body is "<" alone.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			(&transcript{t: t, env: newEnv(t), file: file, known: make(map[string]string)}).play(string(text))
		})
	}
}

type transcript struct {
	t     *testing.T
	env   *env
	file  string
	line  int               // of the step
	known map[string]string // values of names, without the dollar sign
}

func (p *transcript) play(text string) {
	who, region := alice, testRegion
	var last *answer
	for _, step := range p.steps(text) {
		p.line = step.line
		verb, rest, _ := strings.Cut(step.text, " ")
		rest = strings.TrimSpace(rest)
		if verb != "<" && last != nil {
			p.fatalf("the call before has no answer in the transcript: %s", shown(*last))
		}
		switch verb {
		case "as":
			if who = cast[rest]; who == nil {
				p.fatalf("nobody is called %q", rest)
			}
		case "in":
			region = rest
		case "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				p.fatalf("%v", err)
			}
			p.env.advance(d)
			if err := p.env.ring.RunDue(context.Background(), p.env.clock()); err != nil {
				p.fatalf("RunDue: %v", err)
			}
		case "settle":
			p.settle()
		case "wrap":
			p.wrap(rest)
		case ">":
			operation, request, _ := strings.Cut(rest, " ")
			a := p.env.callIn(region, who, operation, p.fill(or(request, "{}")))
			last = &a
		case "<":
			if last == nil {
				p.fatalf("an answer to nothing")
			}
			p.compare(*last, rest)
			last = nil
		default:
			p.fatalf("unknown step %q", verb)
		}
	}
	if last != nil {
		p.fatalf("the last call has no answer in the transcript: %s", shown(*last))
	}
}

// settle waits until nothing is due for a key any more.
func (p *transcript) settle() {
	for range 30_000 {
		due, err := p.env.ring.NextDue(context.Background())
		if err != nil {
			p.fatalf("NextDue: %v", err)
		}
		if due.IsZero() || due.After(p.env.clock()) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	p.fatalf("something that was due is not done")
}

// wrap wraps material that has a name for a public key.
func (p *transcript) wrap(text string) {
	words := strings.Fields(text)
	if len(words) != 5 || words[1] != "for" || words[3] != "as" {
		p.fatalf("unknown step wrap %q", text)
	}
	material := sha256.Sum256([]byte(words[0]))
	p.known[strings.TrimPrefix(words[4], "$")] = wrapOAEP(p.t, p.fill(words[2]), material[:])
}

type step struct {
	line int
	text string
}

// steps joins lines that belong together and drops comments.
func (p *transcript) steps(text string) []step {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || trimmed[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if len(steps) == 0 {
				p.fatalf("line %d is indented under nothing", i+1)
			}
			steps[len(steps)-1].text += " " + trimmed
		default:
			steps = append(steps, step{i + 1, trimmed})
		}
	}
	return steps
}

var (
	nameRE  = regexp.MustCompile(`\$(_|[a-z][a-zA-Z0-9]*)`)
	macroRE = regexp.MustCompile(`\{\{(blob|text) ([0-9]+)\}\}`)
)

// fill puts values in the place of names and macros.
func (p *transcript) fill(text string) string {
	text = macroRE.ReplaceAllStringFunc(text, func(s string) string {
		m := macroRE.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			p.fatalf("%v", err)
		}
		if m[1] == "blob" {
			return blob(n)
		}
		return strings.Repeat("x", n)
	})
	return nameRE.ReplaceAllStringFunc(text, func(s string) string {
		v, ok := p.known[s[1:]]
		if !ok {
			p.fatalf("%s is not known yet", s)
		}
		return v
	})
}

func (p *transcript) compare(a answer, want string) {
	p.t.Helper()
	got := a.body
	if a.err != nil {
		got = wire.AppendError(nil, a.err)
		if a.err.Status != 400 {
			p.errorf("HTTP status %d: %v", a.err.Status, a.err)
		}
	}
	if want == "" || len(got) == 0 {
		if want != "" || len(got) != 0 {
			p.errorf("got %s, want %s", or(string(got), "no body"), or(want, "no body"))
		}
		return
	}
	want = macroRE.ReplaceAllStringFunc(want, func(s string) string { return p.fill(s) })
	wantValue, err := parse([]byte(want))
	if err != nil {
		p.fatalf("the transcript is no JSON: %v", err)
	}
	gotValue, err := parse(got)
	if err != nil {
		p.fatalf("the answer is no JSON: %v: %s", err, got)
	}
	if diff := p.match("", gotValue, wantValue); diff != "" {
		p.errorf("%s\n got %s\nwant %s", diff, got, want)
	}
}

func parse(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// match returns where got is not as wanted, or "".
func (p *transcript) match(at string, got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				return at + "." + name + " should not be there"
			}
		}
		for name, w := range want {
			g, ok := got[name]
			if !ok {
				return at + "." + name + " is missing"
			}
			if diff := p.match(at+"."+name, g, w); diff != "" {
				return diff
			}
		}
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return fmt.Sprintf("%s is %v, not a list of %d", at, got, len(want))
		}
		for i := range want {
			if diff := p.match(at+"["+strconv.Itoa(i)+"]", got[i], want[i]); diff != "" {
				return diff
			}
		}
	case string:
		if !nameRE.MatchString(want) {
			if got != want {
				return fmt.Sprintf("%s is %v, want %v", at, got, want)
			}
			return ""
		}
		return p.matchString(at, fmt.Sprint(got), want)
	default:
		if got != want {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
	}
	return ""
}

// matchString matches a string with names in it, and learns the new ones.
func (p *transcript) matchString(at, got, want string) string {
	var pattern strings.Builder
	var names []string
	rest := want
	for {
		loc := nameRE.FindStringIndex(rest)
		if loc == nil {
			break
		}
		pattern.WriteString(regexp.QuoteMeta(rest[:loc[0]]))
		name := rest[loc[0]+1 : loc[1]]
		if v, ok := p.known[name]; ok {
			pattern.WriteString(regexp.QuoteMeta(v))
		} else {
			pattern.WriteString("(.+?)")
			names = append(names, name)
		}
		rest = rest[loc[1]:]
	}
	pattern.WriteString(regexp.QuoteMeta(rest))
	m := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(got)
	if m == nil {
		return fmt.Sprintf("%s is %q, want %q", at, got, want)
	}
	for i, name := range names {
		if name != "_" {
			p.known[name] = m[i+1]
		}
	}
	return ""
}

func shown(a answer) string { return or(a.text(), or(string(a.body), "no body")) }

func (p *transcript) errorf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *transcript) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}
