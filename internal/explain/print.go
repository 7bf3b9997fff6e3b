package explain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/policy"
)

// matches are the ways in which a Principal element means a caller.
var matches = []struct {
	match policy.Match
	words string
}{
	{policy.ByAnyone, "anyone"},
	{policy.ByAccount, "the account"},
	{policy.ByUser, "the user"},
	{policy.ByRole, "the role"},
	{policy.BySession, "the role session"},
	{policy.ByFederatedUser, "the federated user"},
	{policy.ByIssuer, "the user who made the federated user's session"},
	{policy.ByService, "the service"},
}

// allowedBy lists the ways in m.
func allowedBy(m policy.Match) []string {
	var list []string
	for _, one := range matches {
		if m&one.match != 0 {
			list = append(list, one.words)
		}
	}
	return list
}

// said is the verdict of a layer or policy.
func said(allow, deny bool) string {
	switch {
	case deny:
		return "denies"
	case allow:
		return "allows"
	}
	return "does not allow"
}

// A statement is one of a policy, and what became of it.
type statement struct {
	policy.Statement
	index   int // from 1
	outcome policy.Outcome
	seen    string // what the request has of the condition that did not hold
}

// statementsOf returns the statements of an evaluated policy.
func statementsOf(p *authz.Evaluated) []statement {
	if p.Policy == nil {
		return nil
	}
	var list []statement
	for i, s := range p.Policy.Statements() {
		one := statement{Statement: s, index: i + 1, outcome: p.Result.Statements[i]}
		if one.outcome.Mismatch == policy.OfCondition {
			one.seen = p.Seen[i]
		}
		list = append(list, one)
	}
	return list
}

func (s *statement) effect() string {
	if s.Deny {
		return "Deny"
	}
	return "Allow"
}

// condition returns the condition that did not hold; nil if it was not that.
func (s *statement) condition() *policy.Condition {
	if s.outcome.Mismatch != policy.OfCondition {
		return nil
	}
	return &s.Conditions[s.outcome.Condition]
}

// words says what became of the statement.
func (s *statement) words() string {
	switch {
	case s.outcome.Matched:
		return "matches"
	case s.outcome.Mismatch == policy.Inert:
		return "lacks an element, and never matches"
	}
	if c := s.condition(); c != nil {
		has := "has " + s.seen
		if s.seen == "" {
			has = "does not have it"
		}
		return "the condition " + c.String() + " does not hold: the request " + has
	}
	return s.outcome.Mismatch.String() + " does not match"
}

// AppendText appends the result for people: what was decided, what differs, and
// the reasons layer by layer and statement by statement.
func (r *Result) AppendText(b []byte, file string) []byte {
	c, d := r.Case, r.Decision
	b = fmt.Appendf(b, "%s:%d: case %s: %s\n", file, c.Line, clean(c.ID), clean(c.Action))
	for _, difference := range r.Differences {
		b = fmt.Appendf(b, "  %s\n", clean(difference))
	}
	b = fmt.Appendf(b, "  principal: %s\n  resource: %s\n  decision: %s\n", clean(c.Caller), clean(c.Resource), clean(d.Text))
	for i := range d.Layers {
		b = appendLayer(b, &d.Layers[i])
	}
	for _, g := range d.Grants {
		why := "allows"
		if !g.Usable {
			why = g.Why
		}
		b = fmt.Appendf(b, "  grant %s to %s: %s\n", clean(g.Grant.ID), clean(g.Grant.GranteeARN), clean(why))
	}
	return b
}

func appendLayer(b []byte, l *authz.Layer) []byte {
	b = fmt.Appendf(b, "  layer %s", layerName(l.Type))
	if l.Type == authz.ServiceControl || l.Type == authz.ResourceControl {
		b = fmt.Appendf(b, ", level %d", l.Level+1)
	}
	switch {
	case l.Broken != "":
		b = fmt.Appendf(b, ": %s", clean(l.Broken))
	case len(l.Policies) == 0:
		b = append(b, ": has no policies"...)
	default:
		b = fmt.Appendf(b, ": %s", said(l.Allowed, l.Denied))
	}
	if by := allowedBy(l.AllowedBy); l.Allowed && len(by) > 0 {
		b = fmt.Appendf(b, " (names %s)", strings.Join(by, ", "))
	}
	b = append(b, '\n')
	for i := range l.Policies {
		p := &l.Policies[i]
		indent := "    "
		if p.Name != "" || p.ARN != "" {
			indent += "  "
			b = fmt.Appendf(b, "    %s: %s\n", clean(strings.TrimSpace(p.Name+" "+p.ARN)), said(p.Result.Allow, p.Result.Deny))
		}
		for _, s := range statementsOf(p) {
			b = fmt.Appendf(b, "%sstatement %d", indent, s.index)
			if s.SID != "" {
				b = fmt.Appendf(b, " %s", quote(s.SID))
			}
			b = fmt.Appendf(b, ", %s: %s\n", s.effect(), clean(s.words()))
		}
	}
	return b
}

// clean makes what stands in a file, or follows from it, fit for a terminal.
func clean(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}

// The shapes of the report for programs.
type (
	jsonResult struct {
		File        string      `json:"file"`
		Line        int         `json:"line"`
		ID          string      `json:"id"`
		Principal   string      `json:"principal"`
		Action      string      `json:"action"`
		Resource    string      `json:"resource"`
		Expected    string      `json:"expected"`
		Decided     string      `json:"decided"`
		Layer       string      `json:"layer,omitempty"`
		Text        string      `json:"text"`
		Differences []string    `json:"differences"`
		Layers      []jsonLayer `json:"layers"`
		Grants      []jsonGrant `json:"grants"`
	}
	jsonLayer struct {
		Layer     string       `json:"layer"`
		Level     int          `json:"level,omitempty"` // from 1
		Allows    bool         `json:"allows"`
		Denies    bool         `json:"denies"`
		AllowedBy []string     `json:"allowedBy,omitempty"`
		Broken    string       `json:"broken,omitempty"`
		Policies  []jsonPolicy `json:"policies"`
	}
	jsonPolicy struct {
		Name       string          `json:"name,omitempty"`
		ARN        string          `json:"arn,omitempty"`
		Allows     bool            `json:"allows"`
		Denies     bool            `json:"denies"`
		Statements []jsonStatement `json:"statements"`
	}
	jsonStatement struct {
		Index     int    `json:"index"` // from 1
		SID       string `json:"sid,omitempty"`
		Effect    string `json:"effect"`
		Matches   bool   `json:"matches"`
		Mismatch  string `json:"mismatch,omitempty"` // element
		Condition string `json:"condition,omitempty"`
		Seen      string `json:"seen,omitempty"` // what the request has of its key
	}
	jsonGrant struct {
		ID     string `json:"id"`
		Usable bool   `json:"usable"`
		Why    string `json:"why,omitempty"`
	}
)

// AppendJSON appends the result for programs: a line with one JSON object.
func (r *Result) AppendJSON(b []byte, file string) ([]byte, error) {
	c, d := r.Case, r.Decision
	out := jsonResult{
		File: file, Line: c.Line, ID: c.ID, Principal: c.Caller, Action: c.Action, Resource: c.Resource,
		Expected: verdict(c.Allow), Decided: verdict(d.Allowed), Layer: r.Layer, Text: d.Text,
		Differences: append([]string{}, r.Differences...), Layers: []jsonLayer{}, Grants: []jsonGrant{},
	}
	for _, l := range d.Layers {
		layer := jsonLayer{
			Layer: layerName(l.Type), Allows: l.Allowed, Denies: l.Denied, AllowedBy: allowedBy(l.AllowedBy), Broken: l.Broken, Policies: []jsonPolicy{},
		}
		if l.Type == authz.ServiceControl || l.Type == authz.ResourceControl {
			layer.Level = l.Level + 1
		}
		for _, p := range l.Policies {
			evaluated := jsonPolicy{Name: p.Name, ARN: p.ARN, Allows: p.Result.Allow, Denies: p.Result.Deny, Statements: []jsonStatement{}}
			for _, s := range statementsOf(&p) {
				out := jsonStatement{Index: s.index, SID: s.SID, Effect: s.effect(), Matches: s.outcome.Matched}
				if !s.outcome.Matched {
					out.Mismatch = s.outcome.Mismatch.String()
				}
				if c := s.condition(); c != nil {
					out.Condition, out.Seen = c.String(), s.seen
				}
				evaluated.Statements = append(evaluated.Statements, out)
			}
			layer.Policies = append(layer.Policies, evaluated)
		}
		out.Layers = append(out.Layers, layer)
	}
	for _, g := range d.Grants {
		out.Grants = append(out.Grants, jsonGrant{ID: g.Grant.ID, Usable: g.Usable, Why: g.Why})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return b, fmt.Errorf("writing the result of case %s: %w", quote(c.ID), err)
	}
	return append(append(b, text...), '\n'), nil
}

func verdict(allowed bool) string {
	if allowed {
		return "allow"
	}
	return "deny"
}
