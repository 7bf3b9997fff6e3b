package trail

import (
	"context"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/record"
)

// The sinks of a trail, as they stand in storage keys.
const (
	bucketSink = "bucket"
	groupSink  = "group"
)

func sinkKey(id, sink string) string { return sinkPrefix + id + "/" + sink }

// progress is how far a trail has been copied to one of its sinks.
type progress struct {
	Cursor  uint64   `json:"cursor"` // up to the file of that number nothing is to be copied any more
	Files   Delivery `json:"files"`
	Digests Delivery `json:"digests"` // of the bucket
	// Anchors are digests that the log group is still to be told of; of the log
	// group.
	Anchors []anchor `json:"anchors,omitempty"`
}

// anchor is a digest that was put into the bucket, as the log group is told of
// it: what is known outside of its hash can't be changed in the bucket any more.
type anchor struct {
	Trail     string    `json:"trailARN"`
	Account   string    `json:"awsAccountId"`
	Region    string    `json:"awsRegion"`
	Start     time.Time `json:"digestStartTime"`
	End       time.Time `json:"digestEndTime"`
	Bucket    string    `json:"digestS3Bucket"`
	Object    string    `json:"digestS3Object"`
	Hash      string    `json:"digestHashValue"`
	Algorithm string    `json:"digestHashAlgorithm"` // "SHA-256"
	Signature string    `json:"digestSignature"`
}

// maxAnchors is how many digests are kept for a log group that is away. Each
// digest names the one before it with its hash: the newest ones say enough.
const maxAnchors = 1000

// progress reads how far a sink is.
func (s *Set) progress(ctx context.Context, id, sink string) (progress, record.Record, error) {
	rec, err := s.records.Get(ctx, record.KindTrailSink, sinkKey(id, sink))
	if err != nil {
		return progress{}, rec, err
	}
	p, err := decode[progress](rec.Value)
	return p, rec, err
}

// changeProgress changes how far a sink is: errGone if the trail is not there any
// more.
func (s *Set) changeProgress(ctx context.Context, tx *record.Tx, id, sink string, change func(*progress)) error {
	p, rec, err := s.progress(ctx, id, sink)
	if errors.Is(err, record.ErrNotFound) {
		return errGone
	}
	if err != nil {
		return err
	}
	change(&p)
	text, err := encode(p)
	if err != nil {
		return err
	}
	tx.Put(rec, text)
	return nil
}

// chain is the digests of a trail for an account and Region.
type chain struct {
	// Since is where the next digest begins: the end of the one before.
	Since    time.Time     `json:"since"`
	Previous *archive.Link `json:"previous,omitempty"` // nil before the first digest
	// Closing is where the digest ends that is being made; zero if none is. It
	// is stored before, so that one that is made again is the same.
	Closing time.Time `json:"closing,omitzero"`
	Active  time.Time `json:"active,omitzero"`   // the end of the newest digest that lists files
	Pending []pending `json:"pending,omitempty"` // what the next digest is to list
}

// pending is a log file that no digest lists yet.
type pending struct {
	archive.LogFile
	Delivered time.Time `json:"delivered"`
}

// With dueAt files a digest is made before its hour is over; with maxPending no
// more are copied before it has been made. So a chain's record has bounds.
const (
	dueAt      = 500
	maxPending = 1500
)

// pair is an account and a Region.
type pair struct{ account, region string }

func chainKey(id string, p pair) string { return chainPrefix + id + "/" + p.account + "/" + p.region }
