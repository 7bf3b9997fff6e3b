package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/policy"
)

// parse parses a document that somebody gives. Errors: ErrMalformed.
func (d *Directory) parse(document string, t policy.Type) (*policy.Policy, error) {
	p, err := policy.Parse(document, policy.Options{Type: t})
	if err != nil {
		return nil, malformed(err)
	}
	return p, nil
}

func malformed(err error) error {
	var e *policy.Error
	if errors.As(err, &e) {
		return &Error{ErrMalformed, e.Message}
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// compile returns the policy of a stored document. Those of the same text are
// one.
func (d *Directory) compile(document string, t policy.Type) (*policy.Policy, error) {
	return d.compiled.get(document, t)
}

// compiled shares compiled policies by their content. It keeps the ones lately
// asked for; what it has let go of stays with those who hold it.
type compiled struct {
	mu       sync.Mutex
	room     int // policies in young
	young    map[content]*policy.Policy
	old      map[content]*policy.Policy // what young was, before it was full
	compiles int
}

// content is a document and what it is for.
type content struct {
	hash [sha256.Size]byte
	t    policy.Type
}

func (c *compiled) get(document string, t policy.Type) (*policy.Policy, error) {
	key := content{sha256.Sum256([]byte(document)), t}
	c.mu.Lock()
	p, ok := c.young[key]
	if !ok {
		if p, ok = c.old[key]; ok {
			c.keep(key, p)
		}
	}
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	p, err := policy.Parse(document, policy.Options{Type: t, Stored: true})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compiles++
	if other, ok := c.young[key]; ok {
		return other, nil // somebody was faster
	}
	c.keep(key, p)
	return p, nil
}

func (c *compiled) keep(key content, p *policy.Policy) {
	if c.young == nil || len(c.young) >= c.room {
		c.young, c.old = make(map[content]*policy.Policy), c.young
	}
	c.young[key] = p
}

// attached compiles a stored document where it is attached. One that cannot be
// read any more has no policy: it allows nothing, and whoever it restricts is
// denied everything.
func (d *Directory) attached(arn, name, document string, t policy.Type) call.Attached {
	p, err := d.compile(document, t)
	if err != nil {
		d.log.Error("a stored policy cannot be read", "policy", name, "arn", arn, "cause", err)
	}
	return call.Attached{ARN: arn, Name: name, Policy: p}
}
