package archive

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// Where the keys of digests stand, and how long one is used.
const (
	keyPrefix     = "v1/archive/key/"
	defaultKeyAge = 365 * 24 * time.Hour
	keyBits       = 2048 // as CloudTrail's
)

// keyRecord is a key that signs digests, at rest. A key that lives in an HSM
// will come with the sealing by an HSM: it needs a [crypto.Signer] in the place
// of Private.
type keyRecord struct {
	Version int       `json:"v"` // 1
	Region  string    `json:"region"`
	Public  []byte    `json:"public"`            // PKCS #1, DER
	Private []byte    `json:"private,omitempty"` // PKCS #1, DER; dropped when the key has been replaced
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
}

// digestKey is a key as it is held in memory.
type digestKey struct {
	public PublicKey
	signer *rsa.PrivateKey // nil if the key has been replaced
	rec    record.Record   // without its value
}

// loadKeys reads the keys of all Regions.
func (a *Archive) loadKeys(ctx context.Context) error {
	for after := ""; ; {
		found, err := a.records.List(ctx, record.KindDigestKey, keyPrefix, after, 0)
		if err != nil {
			return fmt.Errorf("reading the keys of digests: %w", err)
		}
		for _, f := range found {
			if f.Err != nil {
				return fmt.Errorf("reading a key of digests: %w", f.Err)
			}
			key, err := decodeKey(f.Record)
			if err != nil {
				return fmt.Errorf("reading a key of digests: %s: %w", f.Key, err)
			}
			a.keys[key.public.Region] = append(a.keys[key.public.Region], key)
		}
		if len(found) == 0 {
			break
		}
		after = found[len(found)-1].Key
	}
	for _, keys := range a.keys {
		sortKeys(keys)
	}
	return nil
}

// sortKeys puts the oldest key first.
func sortKeys(keys []*digestKey) {
	slices.SortFunc(keys, func(x, y *digestKey) int {
		return cmp.Or(x.public.Start.Compare(y.public.Start), cmp.Compare(x.public.Fingerprint, y.public.Fingerprint))
	})
}

func decodeKey(rec record.Record) (*digestKey, error) {
	defer clear(rec.Value)
	var k keyRecord
	if err := json.Unmarshal(rec.Value, &k); err != nil {
		return nil, errors.New("malformed record") // the cause could quote it
	}
	defer clear(k.Private)
	if k.Version != 1 {
		return nil, fmt.Errorf("version %d is not known", k.Version)
	}
	key := &digestKey{public: PublicKey{Region: k.Region, Fingerprint: Fingerprint(k.Public), Value: k.Public, Start: k.Start, End: k.End}}
	if _, err := key.public.rsaKey(); err != nil {
		return nil, err
	}
	if len(k.Private) > 0 {
		signer, err := x509.ParsePKCS1PrivateKey(k.Private)
		if err != nil {
			return nil, errors.New("malformed private key")
		}
		key.signer = signer
	}
	rec.Value = nil
	key.rec = rec
	return key, nil
}

// Key returns the key that signs digests of a Region that end at a time. It
// makes one if there is none, or if the newest has come to its age: the old
// one's private half is forgotten then.
func (a *Archive) Key(ctx context.Context, region string, end time.Time) (Key, error) {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	keys := a.keys[region]
	if n := len(keys); n > 0 && keys[n-1].signer != nil && end.Before(keys[n-1].public.End) {
		return Key{Fingerprint: keys[n-1].public.Fingerprint, Signer: keys[n-1].signer}, nil
	}
	key, err := a.makeKey(ctx, region, end.UTC().Truncate(time.Second), keys)
	if err != nil {
		return Key{}, fmt.Errorf("making a key for digests of %s: %w", region, err)
	}
	return Key{Fingerprint: key.public.Fingerprint, Signer: key.signer}, nil
}

func randomKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) }

// makeKey makes a key for digests that end at start or later. The caller holds
// keyMu.
func (a *Archive) makeKey(ctx context.Context, region string, start time.Time, keys []*digestKey) (*digestKey, error) {
	signer, err := a.newKey()
	if err != nil {
		return nil, err
	}
	public := x509.MarshalPKCS1PublicKey(&signer.PublicKey)
	k := keyRecord{Version: 1, Region: region, Public: public, Private: x509.MarshalPKCS1PrivateKey(signer), Start: start, End: start.Add(a.keyAge)}
	defer clear(k.Private)
	text, err := json.Marshal(&k)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	made := &digestKey{
		public: PublicKey{Region: region, Fingerprint: Fingerprint(public), Value: public, Start: k.Start, End: k.End}, signer: signer,
	}
	tx := a.records.Begin()
	storageKey := keyPrefix + region + "/" + made.public.Fingerprint
	tx.Create(record.KindDigestKey, storageKey, text)
	var old *digestKey
	if n := len(keys); n > 0 && keys[n-1].signer != nil {
		old = keys[n-1]
		text, err := json.Marshal(&keyRecord{Version: 1, Region: region, Public: old.public.Value, Start: old.public.Start, End: old.public.End})
		if err != nil {
			return nil, err
		}
		tx.Put(old.rec, text)
	}
	if _, err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	if old != nil {
		old.signer = nil
	}
	rec, err := a.records.Get(ctx, record.KindDigestKey, storageKey)
	if err != nil {
		return nil, err
	}
	clear(rec.Value)
	rec.Value = nil
	made.rec = rec
	a.keys[region] = append(keys, made)
	a.logger.Info("made a key that signs audit digests", "region", region, "fingerprint", made.public.Fingerprint, "until", k.End)
	return made, nil
}

// PublicKeys returns the public keys whose time has a part in common with that
// from start to end, the oldest first: of a Region, or of all if region is
// empty. A zero start or end is no bound.
func (a *Archive) PublicKeys(region string, start, end time.Time) []PublicKey {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	var public []PublicKey
	for r, keys := range a.keys {
		if region != "" && r != region {
			continue
		}
		for _, k := range keys {
			if (start.IsZero() || !k.public.End.Before(start)) && (end.IsZero() || !k.public.Start.After(end)) {
				public = append(public, k.public)
			}
		}
	}
	slices.SortFunc(public, func(x, y PublicKey) int {
		return cmp.Or(cmp.Compare(x.Region, y.Region), x.Start.Compare(y.Start), cmp.Compare(x.Fingerprint, y.Fingerprint))
	})
	return public
}
