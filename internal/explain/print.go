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

// reason says why a statement did not match; empty if it did.
func reason(o policy.Outcome, s *policy.Statement) string {
	switch {
	case o.Matched:
		return ""
	case o.Mismatch == policy.Inert:
		return "it lacks an element, and never matches"
	case o.Mismatch == policy.OfCondition && s != nil && o.Condition >= 0 && o.Condition < len(s.Conditions):
		return "the condition does not hold: " + s.Conditions[o.Condition].String()
	case o.Mismatch == policy.None:
		return "it does not match"
	}
	return o.Mismatch.String() + " does not match"
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
		if p.Name != "" || p.ARN != "" {
			b = fmt.Appendf(b, "    %s: %s\n", clean(strings.TrimSpace(p.Name+" "+p.ARN)), said(p.Result.Allow, p.Result.Deny))
		}
		statements := p.Policy.Statements()
		for j, o := range p.Result.Statements {
			var s *policy.Statement
			if j < len(statements) {
				s = &statements[j]
			}
			b = fmt.Appendf(b, "      statement %d", j+1)
			if s != nil && s.SID != "" {
				b = fmt.Appendf(b, " %s", quote(s.SID))
			}
			b = fmt.Appendf(b, ", %s: ", effect(s))
			if why := reason(o, s); why != "" {
				b = append(b, clean(why)...)
			} else {
				b = append(b, "matches"...)
			}
			b = append(b, '\n')
		}
	}
	return b
}

func effect(s *policy.Statement) string {
	if s != nil && s.Deny {
		return "Deny"
	}
	return "Allow"
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
			statements := p.Policy.Statements()
			for i, o := range p.Result.Statements {
				s := jsonStatement{Index: i + 1, Effect: effect(nil), Matches: o.Matched}
				if !o.Matched {
					s.Mismatch = o.Mismatch.String()
				}
				if i < len(statements) {
					s.SID, s.Effect = statements[i].SID, effect(&statements[i])
					if !o.Matched && o.Mismatch == policy.OfCondition && o.Condition < len(statements[i].Conditions) {
						s.Condition = statements[i].Conditions[o.Condition].String()
					}
				}
				evaluated.Statements = append(evaluated.Statements, s)
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
