package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/operator"
)

type auditCommand struct {
	Tail   auditTailCommand   `cmd:"" help:"Print what happens, as it happens."`
	Search auditSearchCommand `cmd:"" help:"Print what has happened, the newest first."`
	Verify auditVerifyCommand `cmd:"" help:"Find out whether somebody has changed the trail."`
	Keys   auditKeysCommand   `cmd:"" help:"Print what verifies the files without the node."`
}

// auditNode is the flags of commands that ask a running node for events.
type auditNode struct {
	dataDirectory
	Env bool `help:"Sign with the credentials of the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …) instead of the administrator's."`
}

// remote returns a client of the node.
func (n *auditNode) remote(ctx context.Context) (*operator.Remote, error) {
	var (
		environment operator.Environment
		err         error
	)
	if n.Env {
		if environment, err = clientEnvironment(); err != nil {
			return nil, &failure{err, 2}
		}
	} else if environment, err = operator.NewClient(n.Data).Environment(ctx); err != nil {
		return nil, adviseClient(err, n.Data)
	}
	return operator.NewRemote(environment, time.Now)
}

// auditFilter is the flags that say which events are wanted.
type auditFilter struct {
	Account      string `help:"Account whose record it is." placeholder:"ID" group:"Which events:"`
	Region       string `help:"Region." placeholder:"NAME" group:"Which events:"`
	Name         string `short:"o" help:"Operation or event, such as Decrypt." placeholder:"NAME" group:"Which events:"`
	Service      string `help:"Service: kms, iam, sts, …, or an event source such as kms.amazonaws.com." placeholder:"NAME" group:"Which events:"`
	User         string `short:"u" help:"User, or session of a role." placeholder:"NAME" group:"Which events:"`
	Resource     string `short:"r" help:"A resource that was touched: an ARN, or the id or name in it." placeholder:"NAME" group:"Which events:"`
	ResourceType string `help:"Type of such a resource, such as AWS::KMS::Key." placeholder:"TYPE" group:"Which events:"`
	AccessKey    string `short:"k" help:"Id of the access key that signed." placeholder:"ID" group:"Which events:"`
	Event        string `help:"Id of the event." placeholder:"ID" group:"Which events:"`
	Request      string `help:"Id of the request." placeholder:"ID" group:"Which events:"`
	Error        string `help:"Code of the error, such as AccessDenied." placeholder:"CODE" group:"Which events:"`
	Failed       bool   `help:"Only what failed." group:"Which events:"`
	Changes      bool   `help:"Only what changes something." xor:"effect" group:"Which events:"`
	Reads        bool   `help:"Only what changes nothing." xor:"effect" group:"Which events:"`
}

// filter returns what the flags say.
func (f *auditFilter) filter() (keyreeveapi.EventFilter, error) {
	out := keyreeveapi.EventFilter{
		Account: f.Account, Region: f.Region, EventName: f.Name, EventSource: f.Service, Username: f.User,
		ResourceType: f.ResourceType, ResourceName: f.Resource, AccessKeyID: f.AccessKey, EventID: f.Event, RequestID: f.Request, ErrorCode: f.Error,
	}
	switch {
	case f.Failed && f.Error != "":
		return out, errors.New("--error says more than --failed: give one of them")
	case f.Failed:
		out.ErrorCode = keyreeveapi.AnyError
	}
	switch s := f.Service; {
	case s == "" || strings.Contains(s, "."):
	case s == keyreeveapi.SigningName:
		out.EventSource = keyreeveapi.EventSource
	default:
		out.EventSource = s + ".amazonaws.com"
	}
	if f.Changes || f.Reads {
		out.ReadOnly = &f.Reads
	}
	return out, nil
}

type auditTailCommand struct {
	auditNode
	Lines    int  `short:"n" default:"10" help:"How many of the newest events to begin with." placeholder:"N"`
	NoFollow bool `help:"End after those."`
	JSON     bool `name:"json" help:"Print the records themselves, a line of JSON each."`
	auditFilter
}

// Help is printed below the command's own help.
func (auditTailCommand) Help() string {
	return `Everything, as it happens:

  keyreeve audit tail

What is denied, and what one user changes:

  keyreeve audit tail --failed
  keyreeve audit tail --user alice --changes

Names of all users of a key, for a program to read:

  keyreeve audit tail --json --resource 1234abcd-12ab-34cd-56ef-1234567890ab |
      jq --unbuffered -r .userIdentity.arn

It goes on when the node is started anew. Times are in UTC.`
}

// How tail follows.
const (
	tailWait  = 15 * time.Second       // how long the node waits for an event
	tailPause = 500 * time.Millisecond // between two questions, each of which makes a record
	tailAgain = time.Second            // between two attempts to reach a node that is away
)

func (c *auditTailCommand) Run(e *env) error {
	filter, err := c.filter()
	if err == nil && (c.Lines < 0 || c.Lines > keyreeveapi.MaxEvents) {
		err = fmt.Errorf("--lines is from 0 to %d", keyreeveapi.MaxEvents)
	}
	if err != nil {
		return &failure{hint.Add(err, e.program+" audit tail --help"), 2}
	}
	remote, err := c.remote(e.ctx)
	if err != nil {
		return err
	}
	p := newAuditPrinter(e.stdout, c.JSON)
	most := int32(keyreeveapi.MaxEvents)
	in := &keyreeveapi.TailEventsInput{EventFilter: filter, Last: int32(c.Lines), MaxResults: &most}
	away := false // the node does not answer
	for {
		asked := time.Now()
		out, err := c.ask(e.ctx, &remote, in)
		switch {
		case e.ctx.Err() != nil:
			return nil // interrupted, which is how it ends
		case err == nil:
		case in.Cursor == "" || !mayPass(err):
			return err
		default:
			if !away {
				fmt.Fprintf(e.stderr, "the node does not answer; waiting for it (%v)\n", err)
			}
			away = true
			if !pause(e.ctx, tailAgain) {
				return nil
			}
			remote = nil // it may have another address now
			continue
		}
		if away {
			fmt.Fprintln(e.stderr, "the node answers again")
			away = false
		}
		if out.Skipped {
			fmt.Fprintf(e.stderr, "events are missing here; look for them with: %s audit search\n", e.program)
		}
		if err := p.print(out.Events); err != nil {
			return err
		}
		if c.NoFollow {
			return nil
		}
		in.Last, in.Cursor, in.Wait = 0, out.Cursor, int32(tailWait/time.Second)
		if len(out.Events) < keyreeveapi.MaxEvents/2 && !pause(e.ctx, tailPause-time.Since(asked)) {
			return nil
		}
	}
}

// ask asks for more events, by a new client if remote is nil.
func (c *auditTailCommand) ask(ctx context.Context, remote **operator.Remote, in *keyreeveapi.TailEventsInput) (_ *keyreeveapi.TailEventsOutput, err error) {
	if *remote == nil {
		if *remote, err = c.remote(ctx); err != nil {
			return nil, err
		}
	}
	return (*remote).TailEvents(ctx, in)
}

// mayPass reports whether a node that answered err, or none, may answer later:
// it is being started, or is sealed, or is away.
func mayPass(err error) bool {
	var answer *operator.RemoteError
	if !errors.As(err, &answer) {
		var mistake *failure
		return !errors.As(err, &mistake)
	}
	return answer.Code == "ServiceUnavailableException" || answer.Code == "InternalException" || answer.Code == "KMSInternalException"
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

type auditSearchCommand struct {
	auditNode
	Since moment `help:"From this time on: 2026-11-22, 2026-11-22T03:04, with seconds or a zone as well, or a time ago: 30m, 12h, 7d." placeholder:"TIME"`
	Until moment `help:"Before this time." placeholder:"TIME"`
	Limit int    `short:"n" default:"100" help:"How many events at most; 0 for all." placeholder:"N"`
	JSON  bool   `name:"json" help:"Print the records themselves, a line of JSON each."`
	auditFilter
}

// Help is printed below the command's own help.
func (auditSearchCommand) Help() string {
	return `Who has used this key in the last week?

  keyreeve audit search --resource 1234abcd-12ab-34cd-56ef-1234567890ab --since 7d

What did this access key do on that day, and what was it denied?

  keyreeve audit search --access-key AKIA… --since 2026-11-21 --until 2026-11-22
  keyreeve audit search --access-key AKIA… --failed

Everything that has changed the law, as records, for a program to read:

  keyreeve audit search --name PutKeyPolicy --limit 0 --json

It covers what is kept, by default 90 days, of all accounts. By event, name, user,
resource, access key or service it reads an index; by all else, the records of the
time that is given. Times are in UTC unless they have a zone.`
}

func (c *auditSearchCommand) Run(e *env) error {
	now := time.Now()
	since, until := c.Since.at(now), c.Until.at(now)
	filter, err := c.filter()
	switch {
	case err != nil:
	case c.Limit < 0:
		err = errors.New("--limit is not negative")
	case !until.IsZero() && !since.Before(until):
		err = errors.New("--since is not before --until: no event can be between them")
	}
	if err != nil {
		return &failure{hint.Add(err, e.program+" audit search --help"), 2}
	}
	in := &keyreeveapi.SearchEventsInput{EventFilter: filter, Start: since, End: until}
	remote, err := c.remote(e.ctx)
	if err != nil {
		return err
	}
	p := newAuditPrinter(e.stdout, c.JSON)
	unreadable := 0
	for left := c.Limit; ; {
		if c.Limit > 0 {
			n := int32(min(left, keyreeveapi.MaxEvents))
			in.MaxResults = &n
		}
		ctx, cancel := withTimeout(e)
		out, err := remote.SearchEvents(ctx, in)
		cancel()
		if err != nil {
			return err
		}
		if err := p.print(out.Events); err != nil {
			return err
		}
		unreadable += out.Unreadable
		left -= len(out.Events)
		if out.NextToken == "" || c.Limit > 0 && left <= 0 {
			break
		}
		in.NextToken = out.NextToken
	}
	if unreadable > 0 {
		return hint.Add(fmt.Errorf("%s can't be read", count(unreadable, "further event")), e.program+" audit verify says what was damaged")
	}
	return nil
}

// A moment is a flag: a time, or how long ago. The zero value is none.
type moment struct {
	time time.Time
	ago  time.Duration
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(b []byte) error {
	s := string(b)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			*m = moment{time: t}
			return nil
		}
	}
	ago := strings.TrimPrefix(s, "-")
	d, err := time.ParseDuration(ago)
	if days, ok := strings.CutSuffix(ago, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no time: write 2026-11-22, 2026-11-22T03:04:05Z, or 12h for twelve hours ago", s)
	}
	*m = moment{ago: d}
	return nil
}

// at returns the time that m is at now.
func (m moment) at(now time.Time) time.Time {
	if m.ago != 0 {
		return now.Add(-m.ago)
	}
	return m.time
}
