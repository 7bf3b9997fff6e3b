package policy

import (
	"slices"
	"strings"
	"sync/atomic"
	"unique"
)

// An action is a pattern of actions, in lower case. It has no variables, and is
// too short to need a finder for long.
type action struct {
	kind patternKind // exact, prefix, everything or scanned
	text string
}

func compileAction(s string) action {
	s = lowerASCII(s)
	p := compilePattern(s, true, false)
	if p.kind == segmented {
		return action{kind: scanned, text: s}
	}
	return action{kind: p.kind, text: p.text}
}

// match reports whether the pattern means an action, given in lower case.
func (a *action) match(name string) bool {
	switch a.kind {
	case exact:
		return a.text == name
	case prefix:
		return strings.HasPrefix(name, a.text)
	case everything:
		return true
	}
	return scan(a.text, name, new(evaluation))
}

// An actionCache remembers which statements are about an action. A policy is
// asked about few different ones, and most of its statements are about others.
type actionCache struct {
	known atomic.Pointer[map[string]*hits] // never changed; replaced by a larger one
}

// maxKnown bounds the actions that are remembered. Beyond, hits are found anew
// each time. It is what a map has room for before it grows beyond 64 places.
const maxKnown = 56

// hits are the statements about an action: a set of their indices. Actions that
// the same statements are about have the same hits.
type hits struct{ set []uint64 }

func (h *hits) has(i int) bool { return h.set[i/64]>>(i%64)&1 != 0 }

// hits returns the statements of p that are about an action.
func (c *actionCache) hits(p *Policy, name string) *hits {
	known := c.known.Load()
	if known != nil {
		if h := (*known)[name]; h != nil {
			return h
		}
	}
	h := p.findHits(name)
	if len(name) > maxAction {
		return h
	}
	for {
		var have map[string]*hits
		if known != nil {
			have = *known
		}
		if len(have) >= maxKnown {
			return h
		}
		larger := make(map[string]*hits, len(have)+1) // a clone would have room for more
		for name, other := range have {
			larger[name] = other
			if slices.Equal(h.set, other.set) {
				h = other
			}
		}
		// One copy of the name for all policies.
		larger[unique.Make(name).Value()] = h
		if c.known.CompareAndSwap(known, &larger) {
			return h
		}
		known = c.known.Load()
	}
}

func (p *Policy) findHits(name string) *hits {
	lower := lowerASCII(name)
	h := &hits{make([]uint64, (len(p.statements)+63)/64)}
	for i := range p.statements {
		if p.statements[i].matchAction(lower) {
			h.set[i/64] |= 1 << (i % 64)
		}
	}
	return h
}
