package explain

import (
	"cmp"
	"container/list"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
)

// What is kept of denials.
const (
	maxDenials = 4096    // of all accounts
	maxKept    = 8 << 20 // bytes of all of them, sealed
	maxDenial  = 32 << 10
	// share is what part of it one account may take: who is denied a lot pushes
	// out his own denials, not those of others.
	share = 8

	// overhead is about what keeping one takes, besides its bytes.
	overhead = 512
)

// Denials are the calls that were denied last, by request id, for
// [Service.Explain]. They are sealed, in memory alone: not there any more after
// the node was sealed or ended. Methods may be called concurrently.
type Denials struct {
	box *seal.Box

	mu    sync.Mutex
	kept  map[string]*denial
	all   list.List // of *denial, the oldest first
	of    map[string]*shelf
	bytes int
}

// A denial is one that is kept, in two lists.
type denial struct {
	id, account  string
	sealed       []byte
	inAll, inOwn *list.Element
}

// A shelf is the denials of an account.
type shelf struct {
	list  list.List // the oldest first
	bytes int
}

// NewDenials returns room for denials, which box seals.
func NewDenials(box *seal.Box) *Denials {
	return &Denials{box: box, kept: make(map[string]*denial), of: make(map[string]*shelf)}
}

// entry is what is kept of a denied call.
type entry struct {
	Time      time.Time
	Region    string
	Service   string
	Source    netip.AddrPort
	UserAgent string
	TLS       call.TLS
	MFA       time.Time // as in call.Call
	Operation string
	Text      string // the answer's message

	Caller bearer
	Asked  call.Denial
}

// bearer is who called, without credentials.
type bearer struct {
	Kind      call.PrincipalKind
	ARN       string
	EntityARN string
	EntityID  string
	Issuer    string
	AccessKey string
	Session   *call.Session
	Policies  []string // texts of session policies
	Managed   []string
	Limited   bool
}

// Keep keeps a call that was denied by authorization; others are not for it.
// What cannot be kept (the node is being sealed, or the request is too large) is
// not there to be explained, and nothing else.
func (d *Denials) Keep(c *call.Call) {
	n, p := c.Denial, c.Caller
	if n == nil || p == nil || p.Account == "" || !strings.HasPrefix(c.Failure.Code, "AccessDenied") || c.Endpoint != nil || c.Delegation != nil {
		return
	}
	e := entry{
		Time: c.Time, Region: cmp.Or(n.Region, c.Region), Service: c.Service, Source: c.Source, UserAgent: c.UserAgent, TLS: c.TLS, MFA: c.MFA, Text: c.Failure.Message, Asked: *n,
		Caller: bearer{
			Kind: p.Kind, ARN: p.ARN, EntityARN: p.EntityARN, EntityID: p.EntityID, Issuer: p.Issuer, AccessKey: p.AccessKeyID, Session: p.Session, Limited: p.Policies.Limited,
		},
	}
	if c.Operation != nil {
		e.Operation = c.Operation.Name
	}
	for _, a := range p.Policies.Session {
		switch {
		case a.ARN != "":
			e.Caller.Managed = append(e.Caller.Managed, a.ARN)
		case a.Policy != nil:
			e.Caller.Policies = append(e.Caller.Policies, a.Policy.Text())
		}
	}
	text, err := json.Marshal(&e)
	if err != nil || len(text) > maxDenial {
		return
	}
	defer clear(text)
	sealed, err := d.box.Seal(seal.Tokens, denialAAD(c.ID), text)
	if err != nil {
		return
	}
	d.keep(&denial{id: strings.Clone(c.ID), account: strings.Clone(p.Account), sealed: sealed})
}

func denialAAD(id string) []byte { return []byte("keyreeve/denial/" + id) }

func (n *denial) size() int { return len(n.sealed) + overhead }

func (d *Denials) keep(n *denial) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[n.id] != nil {
		return
	}
	own := d.of[n.account]
	if own == nil {
		own = new(shelf)
		d.of[n.account] = own
	}
	for own.list.Len() >= maxDenials/share || own.list.Len() > 0 && own.bytes+n.size() > maxKept/share {
		d.drop(own.list.Front().Value.(*denial))
	}
	for d.all.Len() >= maxDenials || d.bytes+n.size() > maxKept {
		d.drop(d.all.Front().Value.(*denial))
	}
	d.of[n.account] = own // it may have been dropped with its last one
	d.kept[n.id] = n
	n.inAll, n.inOwn = d.all.PushBack(n), own.list.PushBack(n)
	d.bytes += n.size()
	own.bytes += n.size()
}

func (d *Denials) drop(n *denial) {
	own := d.of[n.account]
	d.all.Remove(n.inAll)
	own.list.Remove(n.inOwn)
	d.bytes -= n.size()
	own.bytes -= n.size()
	if own.list.Len() == 0 {
		delete(d.of, n.account)
	}
	delete(d.kept, n.id)
}

// errNoDenial: none is kept of the request.
var errNoDenial = errors.New("explain: no such denial")

// find returns the denial of a request, and the account of who made it.
func (d *Denials) find(id string) (account string, _ *entry, err error) {
	d.mu.Lock()
	n := d.kept[id]
	d.mu.Unlock()
	if n == nil {
		return "", nil, errNoDenial
	}
	text, err := d.box.Open(seal.Tokens, denialAAD(id), n.sealed)
	if err != nil {
		return "", nil, fmt.Errorf("opening a denial: %w", err)
	}
	defer clear(text)
	e := new(entry)
	if err := json.Unmarshal(text, e); err != nil {
		return "", nil, fmt.Errorf("opening a denial: %w", err)
	}
	return n.account, e, nil
}

// Recorder keeps the records of calls, as server.Recorder says.
type Recorder interface {
	Append(c *call.Call) error
	Err() error
}

// Recording returns a recorder that puts calls on record with to, and keeps
// those that were denied. Others are not looked at.
func (d *Denials) Recording(to Recorder) Recorder { return &recorder{to, d} }

type recorder struct {
	Recorder
	denials *Denials
}

func (r *recorder) Append(c *call.Call) error {
	err := r.Recorder.Append(c)
	if err == nil && c.Denial != nil {
		r.denials.Keep(c)
	}
	return err
}
