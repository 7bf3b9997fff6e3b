package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"weak"

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

// compiled shares compiled policies by their content, as long as somebody holds
// them.
type compiled struct {
	mu    sync.Mutex
	known map[content]weak.Pointer[policy.Policy]
}

// content is a document and what it is for.
type content struct {
	hash [sha256.Size]byte
	t    policy.Type
}

func (c *compiled) get(document string, t policy.Type) (*policy.Policy, error) {
	key := content{sha256.Sum256([]byte(document)), t}
	if p := c.find(key); p != nil {
		return p, nil
	}
	p, err := policy.Parse(document, policy.Options{Type: t, Stored: true})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.known[key].Value(); other != nil {
		return other, nil // somebody was faster
	}
	if c.known == nil {
		c.known = make(map[content]weak.Pointer[policy.Policy])
	}
	c.known[key] = weak.Make(p)
	runtime.AddCleanup(p, c.forget, key)
	return p, nil
}

func (c *compiled) find(key content) *policy.Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[key].Value()
}

// forget is called when nobody holds a policy any more. Another may have taken
// its place.
func (c *compiled) forget(key content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[key].Value() == nil {
		delete(c.known, key)
	}
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
