package policy

import (
	"maps"
	"strings"
	"sync/atomic"
)

// An action is a pattern of actions, in lower case.
type action struct {
	kind patternKind // exact, prefix, everything or segmented
	text string
	any  *pattern // if segmented
}

func compileAction(s string) action {
	p := compilePattern(lowerASCII(s), true, false)
	if p.kind == segmented {
		return action{kind: segmented, any: &p}
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
	return a.any.match(name, new(evaluation))
}

// An actionCache remembers which statements are about an action. A policy is
// asked about few different ones, and most of its statements are about others.
type actionCache struct {
	known atomic.Pointer[map[string]*hits] // never changed; replaced by a larger one
}

// maxKnown bounds the actions that are remembered. Beyond, hits are found anew
// each time.
const maxKnown = 64

// hits are the statements about an action.
type hits struct {
	list []int32  // their indices, in order
	bits []uint64 // the same, as a set
}

func (h *hits) has(i int) bool { return h.bits[i/64]>>(i%64)&1 != 0 }

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
		larger := make(map[string]*hits)
		if known != nil {
			if len(*known) >= maxKnown {
				return h
			}
			larger = maps.Clone(*known)
		}
		larger[strings.Clone(name)] = h
		if c.known.CompareAndSwap(known, &larger) {
			return h
		}
		known = c.known.Load()
	}
}

func (p *Policy) findHits(name string) *hits {
	lower := lowerASCII(name)
	h := &hits{bits: make([]uint64, (len(p.statements)+63)/64)}
	for i := range p.statements {
		if p.statements[i].matchAction(lower) {
			h.list = append(h.list, int32(i))
			h.bits[i/64] |= 1 << (i % 64)
		}
	}
	return h
}
