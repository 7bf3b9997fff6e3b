package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/hint"
)

type auditKeysCommand struct{ auditNode }

// Help is printed below the command's own help.
func (auditKeysCommand) Help() string {
	return `Keep what it prints where the node's administrators can change nothing: with it,
the files can be verified without the node, and nobody can pass off a trail that
somebody has made anew, or leave out its end.

  keyreeve audit keys > /mnt/elsewhere/audit-keys.json
  keyreeve audit verify --directory COPY --public-keys /mnt/elsewhere/audit-keys.json`
}

// keysFile is what `audit keys` prints and `audit verify --public-keys` reads. It
// reads what the AWS CLI prints for `aws cloudtrail list-public-keys`, too.
type keysFile struct {
	PublicKeyList []publicKey `json:"PublicKeyList"`
	Heads         []chainHead `json:"Heads,omitempty"`
}

type publicKey struct {
	Value             []byte    `json:"Value"` // PKCS #1, DER
	ValidityStartTime timestamp `json:"ValidityStartTime"`
	ValidityEndTime   timestamp `json:"ValidityEndTime"`
	Fingerprint       string    `json:"Fingerprint"`
	Region            string    `json:"Region,omitempty"`
}

// chainHead is a digest that was the newest of an account and Region once.
type chainHead struct {
	Account string    `json:"Account"`
	Region  string    `json:"Region"`
	Object  string    `json:"Object"`
	Hash    string    `json:"Hash"`
	End     time.Time `json:"End"`
}

// A timestamp is a time as the AWS CLI prints it: RFC 3339, or seconds since
// 1970.
type timestamp struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *timestamp) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err == nil {
		t.Time = time.UnixMilli(int64(seconds * 1000)).UTC()
		return nil
	}
	return json.Unmarshal(b, &t.Time)
}

func (c *auditKeysCommand) Run(e *env) error {
	state, err := c.describe(e, false)
	if err != nil {
		return err
	}
	out := keysFile{PublicKeyList: []publicKey{}}
	for _, k := range state.Keys {
		out.PublicKeyList = append(out.PublicKeyList, publicKey{k.Value, timestamp{k.Start.Time}, timestamp{k.End.Time}, k.Fingerprint, k.Region})
	}
	for _, h := range state.Heads {
		out.Heads = append(out.Heads, chainHead{h.Account, h.Region, h.Object, h.Hash, h.End.Time})
	}
	j := json.NewEncoder(e.stdout)
	j.SetIndent("", "  ")
	if err := j.Encode(&out); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// describe asks the node what it knows of its audit trail.
func (n *auditNode) describe(e *env, journal bool) (*keyreeveapi.DescribeAuditOutput, error) {
	ctx, cancel := withTimeout(e)
	defer cancel()
	remote, err := n.remote(ctx)
	if err != nil {
		return nil, err
	}
	return remote.DescribeAudit(ctx, &keyreeveapi.DescribeAuditInput{VerifyJournal: journal})
}

type auditVerifyCommand struct {
	auditNode
	Directory  string   `help:"Verify this copy of an archive, or of a trail's bucket, instead of the node's own archive." type:"existingdir" placeholder:"DIR"`
	PublicKeys string   `help:"Take the keys from this file, and ask no node: what keyreeve audit keys has printed, or aws cloudtrail list-public-keys." type:"existingfile" placeholder:"FILE"`
	Bucket     bool     `help:"It is the copy of a trail's bucket: do not look for the hashes in --public-keys, which are of the archive's digests."`
	Anchor     []string `help:"Hash of a digest that was kept elsewhere, in hex, which must be there; again for another." placeholder:"HASH" sep:","`
	Account    string   `help:"Only the files of this account." placeholder:"ID"`
	Region     string   `help:"Only the files of this Region." placeholder:"NAME"`
	Verbose    bool     `short:"v" help:"Tell also what proves nothing, such as digests that are too old to be kept."`
}

// Help is printed below the command's own help.
func (auditVerifyCommand) Help() string {
	return `The node's own trail, the journal and the files, held to what the node knows:

  keyreeve audit verify

A copy of it, or of the bucket of a trail, without any node, held to keys and to
the hash of a digest that were kept elsewhere:

  keyreeve audit verify --directory COPY --public-keys audit-keys.json \
      --anchor 4f1c…

With --bucket if it is of a trail's bucket; each digest's x-amz-meta-signature may
stand beside it, in a file of its name with .sig appended, as in an archive.

Each line tells one thing that is wrong, and where: a record or file that was
changed, cut out, added or put in another order, a digest that is missing or whose
signature is wrong, a journal that is not what was written.

Exit status: 0 if all is well, 1 if something is wrong, 2 if it could not be
verified.`
}

// attempts is how often files are looked at that seem wrong while the node
// delivers more.
const attempts = 3

func (c *auditVerifyCommand) Run(e *env) error {
	if c.PublicKeys != "" && c.Directory == "" {
		return &failure{hint.Add(errors.New("what is to be verified? Give --directory"), e.program+" audit verify --help"), 2}
	}
	wrong, err := c.run(e)
	switch {
	case err != nil:
		return &failure{err, 2}
	case wrong > 0:
		fmt.Fprintf(e.stdout, "found wrong: %d\n", wrong)
		return &failure{nil, 1}
	}
	fmt.Fprintln(e.stdout, "nothing is wrong")
	return nil
}

// run verifies and returns how much is wrong.
func (c *auditVerifyCommand) run(e *env) (wrong int, err error) {
	o := archive.VerifyOptions{Dir: c.Directory, Anchors: c.Anchor, Account: c.Account, Region: c.Region}
	if c.PublicKeys != "" {
		if err := c.readKeys(&o); err != nil {
			return 0, err
		}
		return c.files(e, o, nil)
	}
	state, err := c.describe(e, c.Directory == "")
	if err != nil {
		return 0, err
	}
	if c.Directory == "" {
		if state.Directory == "" {
			return 0, hint.Add(errors.New("this node keeps its audit records in memory: there is nothing to verify"), "start it with a data directory, and not with --dev")
		}
		o.Dir = state.Directory
		wrong = c.journal(e, state)
	}
	c.take(&o, state)
	if o.Pending != nil {
		o.Delivered = func() ([]archive.LogFile, error) {
			state, err := c.describe(e, false)
			if err != nil {
				return nil, err
			}
			var now archive.VerifyOptions
			c.take(&now, state)
			return now.Pending, nil
		}
	}
	more, err := c.files(e, o, func() (archive.VerifyOptions, error) {
		state, err := c.describe(e, false)
		if err == nil {
			c.take(&o, state)
		}
		return o, err
	})
	return wrong + more, err
}

// take takes from a node what the files are held to.
func (c *auditVerifyCommand) take(o *archive.VerifyOptions, state *keyreeveapi.DescribeAuditOutput) {
	o.Keys, o.Heads = nil, nil
	for _, k := range state.Keys {
		o.Keys = append(o.Keys, archive.PublicKey{Region: k.Region, Fingerprint: k.Fingerprint, Value: k.Value, Start: k.Start.Time, End: k.End.Time})
	}
	if c.Directory != "" {
		return // of the node's own archive it knows more than of a copy
	}
	for _, h := range state.Heads {
		o.Heads = append(o.Heads, archive.Head{
			Account: h.Account, Region: h.Region, Newest: archive.Link{Bucket: h.Bucket, Object: h.Object, Hash: h.Hash, Signature: h.Signature},
			End: h.End.Time, Oldest: h.Oldest.Time, Count: h.Count,
		})
	}
	o.Pending = []archive.LogFile{} // and no others
	for _, f := range state.Pending {
		o.Pending = append(o.Pending, archive.LogFile{Bucket: f.Bucket, Object: f.Object, Hash: f.Hash})
	}
}

// readKeys takes the keys from a file. The hashes of the heads in it are those of
// digests that were kept elsewhere.
func (c *auditVerifyCommand) readKeys(o *archive.VerifyOptions) error {
	const most = 64 << 20
	f, err := os.Open(c.PublicKeys)
	if err != nil {
		return fmt.Errorf("reading the public keys: %w", err)
	}
	defer f.Close()
	var keys keysFile
	if err := json.NewDecoder(io.LimitReader(f, most)).Decode(&keys); err != nil {
		return fmt.Errorf("reading the public keys: %s: %w", c.PublicKeys, err)
	}
	if len(keys.PublicKeyList) == 0 {
		return hint.Add(fmt.Errorf("there are no public keys in %s", c.PublicKeys), "keyreeve audit keys prints them")
	}
	for _, k := range keys.PublicKeyList {
		o.Keys = append(o.Keys, archive.PublicKey{
			Region: k.Region, Fingerprint: k.Fingerprint, Value: k.Value, Start: k.ValidityStartTime.Time, End: k.ValidityEndTime.Time,
		})
	}
	for _, h := range keys.Heads {
		if !c.Bucket && (c.Account == "" || c.Account == h.Account) && (c.Region == "" || c.Region == h.Region) {
			o.Anchors = append(o.Anchors, h.Hash)
		}
	}
	return nil
}

// journal prints what the node says of its journal, and returns how much is
// wrong with it.
func (c *auditVerifyCommand) journal(e *env, state *keyreeveapi.DescribeAuditOutput) (wrong int) {
	told := make(map[string]bool)
	tell := func(text string) {
		if !told[text] {
			told[text] = true
			wrong++
			fmt.Fprintf(e.stdout, "WRONG  journal: %s\n", printable(text))
		}
	}
	segments, records, unread := 0, 0, 0
	for _, s := range state.Journal {
		segments++
		records += s.Records
		if !s.Verified && len(s.Problems) == 0 && s.Size > 0 {
			unread++
		}
		for _, p := range s.Problems {
			tell(p)
		}
	}
	// What the node has found before: what it noticed is gone from the files.
	for _, p := range state.Damage {
		tell(p)
	}
	fmt.Fprintf(e.stdout, "journal: %s in %s", count(records, "record"), count(segments, "segment"))
	if unread > 0 {
		fmt.Fprintf(e.stdout, ", %d of them not verified", unread)
	}
	fmt.Fprintln(e.stdout)
	return wrong
}

// count returns a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// files verifies files and prints what is wrong with them. A node that makes
// digests meanwhile did not tell of them before: so what seems wrong is looked at
// once more, held to what it tells then.
func (c *auditVerifyCommand) files(e *env, o archive.VerifyOptions, again func() (archive.VerifyOptions, error)) (wrong int, err error) {
	var findings []archive.Finding
	o.Found = func(f archive.Finding) { findings = append(findings, f) }
	var report archive.VerifyReport
	for attempt := 1; ; attempt++ {
		findings = findings[:0]
		if report, err = archive.Verify(e.ctx, o); err != nil {
			return 0, err
		}
		if again == nil || report.Findings == 0 || attempt == attempts {
			break
		}
		pending, heads := o.Pending, o.Heads
		fresh, err := again()
		if err != nil {
			return 0, err
		}
		if slices.Equal(pending, fresh.Pending) && slices.Equal(heads, fresh.Heads) {
			break // it has delivered nothing
		}
		fresh.Found = o.Found
		o = fresh
	}
	for _, f := range findings {
		switch {
		case !f.Note:
			fmt.Fprintf(e.stdout, "WRONG  %s\n", printable(f.String()))
		case c.Verbose:
			fmt.Fprintf(e.stdout, "note   %s\n", printable(f.String()))
		}
	}
	fmt.Fprintf(e.stdout, "files: %s, %s, %s verified", count(report.Chains, "chain"), count(report.Digests, "digest"), count(report.Files, "log file"))
	if report.Unlisted > 0 {
		fmt.Fprintf(e.stdout, "; in no digest yet: %d", report.Unlisted)
	}
	fmt.Fprintln(e.stdout)
	return report.Findings, nil
}
