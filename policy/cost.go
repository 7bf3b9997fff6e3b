package policy

// What the parts of a compiled policy take, in bytes on a 64-bit machine, each
// with the rounding of the allocator where it stands alone.
const (
	costPolicy     = 320 // with its cache of actions
	costStatement  = 128
	costPrincipal  = 24
	costName       = 56
	costAction     = 24
	costCondition  = 96
	costComparands = 128
	costPattern    = 32
	costSegments   = 32
	costSegment    = 32
	costPart       = 32
	costVariable   = 96
	costFinder     = 64
	costPlace      = 16
	costARN        = 64
	costARNParts   = 64
	costExact      = 48 // of a text in a map that is half full
	costList       = 16 // at most, of what rounding a list up costs
)

// Cost returns how many bytes the policy holds in memory, at most: its text,
// what was compiled from it, and what it will remember of the actions that it is
// asked about. What policies share counts for each.
//
// A document of a KMS key, of 32 KiB, costs up to 1.3 MB; one that is meant well,
// five times its size.
func (p *Policy) Cost() int { return p.cost }

// weigh finds the cost of a policy.
func (p *Policy) weigh() int {
	n := costPolicy + len(p.text) + costList + len(p.id) + costName*len(p.names) + p.weighActions()
	// Where a string in the document has escapes, what it says is another text,
	// which is shorter. That is all of the document, at most.
	for i := range len(p.text) {
		if p.text[i] == '\\' {
			n += len(p.text)
			break
		}
	}
	for i := range p.statements {
		n += p.statements[i].weigh()
	}
	return n + n/16 // what rounding up costs long lists
}

// weighBound finds what a bound policy has of its own, beside the policy that it
// was made from.
func (p *Policy) weighBound(from *Policy) int {
	n := costPolicy + costList + costStatement*len(p.statements)
	for i := range p.statements {
		mine, theirs := p.statements[i].principals, from.statements[i].principals
		if len(mine) > 0 && &mine[0] != &theirs[0] {
			n += costList + (costPrincipal+32)*len(mine) // with the unique id
		}
	}
	return n
}

// weighActions returns what the actions that will be remembered take.
func (p *Policy) weighActions() int {
	sets := maxKnown
	if n := len(p.statements); n < 6 {
		sets = min(sets, 1<<n)
	}
	return 64*(16+8) + 1280 + sets*(24+8*((len(p.statements)+63)/64))
}

func (s *statement) weigh() int {
	n := costStatement + 4*costList + costPrincipal*len(s.principals) + costAction*len(s.actions)
	for i := range s.actions {
		n += len(s.actions[i].text) // in lower case it may be a copy
	}
	for i := range s.resources {
		n += s.resources[i].weigh()
	}
	for i := range s.conditions {
		n += s.conditions[i].weigh()
	}
	return n
}

func (c *condition) weigh() int {
	n := costCondition + len(c.key.folded) + costList
	for i := range c.texts {
		n += c.texts[i].weigh()
		if c.test == binaryEquals {
			n += len(c.texts[i].text) + costList
		}
	}
	o := c.other
	if o == &noComparands {
		return n
	}
	n += costComparands + costExact*len(o.exact) + 8*len(o.numbers) + 16*len(o.instant) + 40*len(o.blocks)
	for i := range o.arns {
		n += o.arns[i].weigh()
	}
	return n
}

func (p *arnPattern) weigh() int {
	n := costARN
	if p.apart == nil {
		return n
	}
	n += costARNParts + p.apart.rest.weigh()
	for i := range p.apart.first {
		n += p.apart.first[i].weigh()
	}
	return n
}

func (p *pattern) weigh() int {
	n := costPattern
	if p.apart == nil {
		return n
	}
	n += costSegments + costList
	for i := range p.apart.list {
		s := &p.apart.list[i]
		n += costSegment + costList
		for j := range s.parts {
			n += costPart + len(s.parts[j].literal)
			if s.parts[j].literal != "" {
				n += costList
			}
			if v := s.parts[j].variable; v != nil {
				n += costVariable + len(v.key.folded)
			}
		}
		if s.finder != nil {
			n += costFinder + 8*len(s.finder.any) + costPlace*len(s.finder.places) + 2*costList
		}
	}
	return n
}
