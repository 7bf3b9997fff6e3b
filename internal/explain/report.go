package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
)

// Style is how a report is printed.
type Style struct {
	Colour bool // for a terminal that has them
	Width  int  // of a line, in characters; lines are not broken if it is 0
}

// AppendReport appends an explanation for people.
func AppendReport(b []byte, e *keyreeveapi.ExplainOutput, s Style) []byte {
	r := reporter{b: b, style: s}
	r.report(e)
	return r.b
}

type reporter struct {
	b     []byte
	style Style
}

// Colours, as terminals know them (ECMA-48, SGR).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours a text. What is painted has no spaces that lines are broken at.
func (r *reporter) paint(colour, s string) string {
	if !r.style.Colour {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// line prints a paragraph: its first line is indented by so much, and what
// follows by hang.
func (r *reporter) line(indent, hang int, text string) {
	column := indent
	r.b = append(r.b, strings.Repeat(" ", indent)...)
	for i, word := range strings.Fields(text) {
		n := visible(word)
		switch {
		case i == 0:
		case r.style.Width > 0 && column+1+n > r.style.Width:
			r.b = append(r.b, '\n')
			r.b = append(r.b, strings.Repeat(" ", hang)...)
			column = hang
		default:
			r.b = append(r.b, ' ')
			column++
		}
		r.b = append(r.b, word...)
		column += n
	}
	r.b = append(r.b, '\n')
}

// visible is the width of a word without its colours.
func visible(s string) int {
	n := 0
	for s != "" {
		if strings.HasPrefix(s, "\x1b[") {
			_, s, _ = strings.Cut(s, "m")
			continue
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		n++
	}
	return n
}

func (r *reporter) report(e *keyreeveapi.ExplainOutput) {
	verdicts := map[string]string{keyreeveapi.Allowed: r.paint(green, "allowed"), keyreeveapi.Denied: r.paint(red, "denied"), keyreeveapi.Undecided: r.paint(yellow, "undecided")}
	r.line(0, 0, verdicts[e.Decision]+": "+r.paint(bold, clean(e.Action)))
	r.line(2, 13, "principal: "+clean(e.Principal))
	if e.Resource != "" {
		r.line(2, 13, "resource: "+clean(e.Resource))
	}
	if d := e.Denial; d != nil {
		r.line(2, 13, "request: "+clean(d.RequestID)+", denied at "+d.Time.UTC().Format(time.RFC3339))
		if len(d.Changed) > 0 {
			r.line(2, 13, "since then: "+r.paint(yellow, "changed")+": "+strings.Join(d.Changed, ", ")+"; what follows is how it is now")
			r.line(2, 13, "then: "+clean(d.Text))
		}
	}
	r.line(2, 13, "reason: "+clean(e.Text))
	if len(e.Layers) > 0 {
		r.b = append(r.b, '\n')
	}
	for i := range e.Layers {
		r.layer(&e.Layers[i])
	}
	for _, g := range e.Grants {
		why := "allows"
		if !g.Usable {
			why = g.Why
		}
		r.line(0, 4, "grant "+clean(g.ID)+": "+clean(why))
	}
	if len(e.Changes) > 0 {
		r.b = append(r.b, '\n')
		switch {
		case e.Complete && len(e.Changes) == 1:
			r.line(0, 0, r.paint(bold, "The smallest change that allows it:"))
		case e.Complete:
			r.line(0, 0, r.paint(bold, "The smallest changes that allow it, all of them together:"))
		default:
			r.line(0, 0, r.paint(bold, "What it takes here, though it may not be enough:"))
		}
	}
	for i := range e.Changes {
		r.change(i+1, &e.Changes[i])
	}
	if len(e.Notes) > 0 {
		r.b = append(r.b, '\n')
	}
	for _, note := range e.Notes {
		r.line(0, 0, clean(note))
	}
}

// layerTitles are what people call the layers.
var layerTitles = map[string]string{
	"scp": "service control policies", "rcp": "resource control policies", "endpoint": "VPC endpoint policy", "resource": "resource-based policy",
	"boundary": "permissions boundary", "session": "session policies", "identity": "identity-based policies",
}

func (r *reporter) layer(l *keyreeveapi.ExplainedLayer) {
	title := layerTitles[l.Layer]
	if l.Level > 0 {
		title += ", level " + strconv.Itoa(l.Level)
	}
	title = r.paint(bold, title)
	switch {
	case l.Hidden != "":
		r.line(0, 4, title+": not shown: "+clean(l.Hidden))
		return
	case l.Broken != "":
		r.line(0, 4, title+": "+r.paint(red, "denies")+": "+clean(l.Broken))
	case len(l.Policies) == 0:
		r.line(0, 4, title+": "+r.verdict(l.Allows, l.Denies)+": there are none")
	default:
		text := title + ": " + r.verdict(l.Allows, l.Denies)
		if len(l.AllowedBy) > 0 {
			text += " (names " + strings.Join(l.AllowedBy, ", ") + ")"
		}
		r.line(0, 4, text)
	}
	for i := range l.Policies {
		r.policy(&l.Policies[i])
	}
}

func (r *reporter) verdict(allows, denies bool) string {
	switch text := said(allows, denies); {
	case denies:
		return r.paint(red, text)
	case allows:
		return r.paint(green, text)
	default:
		return text
	}
}

func (r *reporter) policy(p *keyreeveapi.ExplainedPolicy) {
	indent := 2
	if p.Name != "" || p.ARN != "" {
		name := p.ARN
		if name == "" {
			name = p.Name
		}
		if p.Of != "" {
			name += " of " + p.Of
		}
		r.line(2, 6, clean(name)+": "+r.verdict(p.Allows, p.Denies))
		indent = 4
	}
	quiet := make(map[string][]string) // statements that an element keeps out, by element
	var elements []string
	for i := range p.Statements {
		s := &p.Statements[i]
		if !s.Matches && s.Condition == "" {
			if quiet[s.Mismatch] == nil {
				elements = append(elements, s.Mismatch)
			}
			quiet[s.Mismatch] = append(quiet[s.Mismatch], strconv.Itoa(s.Index))
			continue
		}
		text := "statement " + strconv.Itoa(s.Index)
		if s.SID != "" {
			text += " " + quote(s.SID)
		}
		text += fmt.Sprintf(" (line %d, column %d), %s: ", s.Line, s.Column, s.Effect)
		if s.Matches {
			colour := green
			if s.Effect == "Deny" {
				colour = red
			}
			r.line(indent, indent+4, text+r.paint(colour, "matches"))
			continue
		}
		has := "does not have it"
		if len(s.Seen) > 0 {
			list := make([]string, len(s.Seen))
			for j, v := range s.Seen {
				list[j] = quote(v)
			}
			has = "has " + strings.Join(list, ", ")
		}
		r.line(indent, indent+4, text+"the condition "+clean(s.Condition)+" does not hold: the request "+has)
	}
	for _, element := range elements {
		noun := "statement "
		if len(quiet[element]) > 1 {
			noun = "statements "
		}
		why := element + " does not match"
		if element == "inert" {
			why = "lacks an element, and never matches"
		}
		r.line(indent, indent+4, noun+strings.Join(quiet[element], ", ")+": "+why)
	}
}

func (r *reporter) change(n int, c *keyreeveapi.ExplainedChange) {
	what := "add a statement to the " + layerTitles[c.Layer] + " of " + c.Target
	if c.Policy != "" && c.Policy != c.Target {
		what += " (" + c.Policy + ")"
	}
	if c.Do == keyreeveapi.ReplaceStatement {
		what = "statement " + strconv.Itoa(c.Index)
		if c.SID != "" {
			what += " " + quote(c.SID)
		}
		what += fmt.Sprintf(" (line %d, column %d) of the %s of %s", c.Line, c.Column, layerTitles[c.Layer], c.Target)
		if c.Policy != "" && c.Policy != c.Target {
			what += " (" + c.Policy + ")"
		}
		if len(c.Statements) == 0 {
			what = "remove " + what
		} else {
			what = "replace " + what + " by"
		}
	}
	r.line(0, 3, strconv.Itoa(n)+". "+clean(what))
	for _, s := range c.Statements {
		var b bytes.Buffer
		if json.Indent(&b, s, "   ", "  ") == nil {
			r.b = append(r.b, "   "...)
			for line := range strings.Lines(b.String()) {
				r.b = append(r.b, clean(strings.TrimSuffix(line, "\n"))...)
				r.b = append(r.b, '\n')
			}
		}
	}
	if c.Wider != "" {
		r.line(3, 3, r.paint(yellow, "wider:")+" "+clean(c.Wider))
	}
	if c.Or != "" {
		r.line(3, 3, "or: "+clean(c.Or))
	}
}
