package identity

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Limits of MFA devices. Source: "IAM and AWS STS quotas" in the IAM User Guide.
const (
	MaxMFADevices     = MaxUsers // virtual ones of an account
	MaxUserMFADevices = 8        // of a user

	mfaPrefix      = "v1/mfa/"
	mfaOwnerPrefix = "v1/mfaof/"

	// mfaSeedSize is the size of a seed, in bytes: 64 characters of base32.
	mfaSeedSize = 40
)

// How often codes may be wrong. One in 333,333 guesses is right, so somebody who
// has a user's access key and guesses all day has found one after two months.
const (
	mfaTries    = 5 // in mfaMinute
	mfaMinute   = time.Minute
	mfaPatience = 20 // wrong ones in a row, after which mfaTries are for mfaHour
	mfaHour     = time.Hour
)

var (
	// ErrCode: a one-time code is not that of the device now, or was used
	// already (InvalidAuthenticationCode).
	ErrCode = errors.New("identity: not the code")
	// ErrTries is an ErrCode: too many codes were wrong lately, and this one was
	// not looked at.
	ErrTries = fmt.Errorf("%w: too many wrong codes", ErrCode)
)

const textCode = "Authentication code for device is not valid."

// MFADevice is a virtual MFA device: a seed that somebody's phone has, too.
type MFADevice struct {
	Account string
	Path    string // "/" or "/…/"
	Name    string // letters, digits and _+=,.@-
	// SerialNumber is its ARN, of up to 256 characters, as that names it.
	SerialNumber string
	Created      time.Time
	Tags         []Tag

	UserID  string    // unique id of the user for whom it is enabled; empty for none
	Enabled time.Time // when it was
}

// device is the record of an MFA device.
type device struct {
	MFADevice
	seed  secret.Bytes
	last  int64 // newest step whose code was used; 0 for none
	drift int64 // steps by which its clock is ahead of ours

	tries    int       // wrong codes since began
	began    time.Time // of the first of them
	failures int       // wrong codes in a row
}

// encode returns the record's value, which the caller wipes: path, name,
// created, tags (pairs), unique id of the user, enabled, last step and drift
// (8 bytes each), wrong codes since, the first of them, wrong codes in a row,
// seed.
func (v *device) encode() []byte {
	size := 128 + len(v.Path) + len(v.Name) + len(v.UserID) + v.seed.Len()
	for _, t := range v.Tags {
		size += 10 + len(t.Name) + len(t.Value)
	}
	// Room for all of it, so that growing leaves no copy of the seed behind.
	b := append(make([]byte, 0, size), 1)
	b = appendString(b, v.Path)
	b = appendString(b, v.Name)
	b = appendTime(b, v.Created)
	b = appendPairs(b, v.Tags)
	b = appendString(b, v.UserID)
	b = appendTime(b, v.Enabled)
	b = binary.BigEndian.AppendUint64(b, uint64(v.last))
	b = binary.BigEndian.AppendUint64(b, uint64(v.drift))
	b = binary.AppendUvarint(b, uint64(v.tries))
	b = appendTime(b, v.began)
	b = binary.AppendUvarint(b, uint64(v.failures))
	b = binary.AppendUvarint(b, uint64(v.seed.Len()))
	return append(b, v.seed.Reveal()...)
}

// decodeDevice wipes the record's value. The caller wipes the seed.
func decodeDevice(rec record.Record) (*device, error) {
	defer clear(rec.Value)
	r := newReader(rec.Value, 1)
	v := new(device)
	v.Account, _, _ = strings.Cut(strings.TrimPrefix(rec.Key, mfaPrefix), "/")
	v.Path = r.string()
	v.Name = r.string()
	v.SerialNumber = mfaARN(v.Account, v.Path, v.Name)
	v.Created = r.time()
	v.Tags = r.pairs()
	v.UserID = r.string()
	v.Enabled = r.time()
	for _, n := range []*int64{&v.last, &v.drift} {
		if b := r.take(8); b != nil {
			*n = int64(binary.BigEndian.Uint64(b))
		}
	}
	v.tries = r.number()
	v.began = r.time()
	v.failures = r.number()
	v.seed = secret.New(slices.Clone(r.bytes()))
	return v, r.end()
}

// owner is the record of the devices of a user: their serial numbers.
func decodeMFAOwner(rec record.Record) ([]string, error) {
	r := newReader(rec.Value, 1)
	list := r.strings()
	return list, r.end()
}

func encodeMFAOwner(serials []string) []byte { return appendStrings([]byte{1}, serials) }

func mfaOwnerKey(userID string) string { return mfaOwnerPrefix + userID }

func mfaARN(account, path, name string) string {
	return "arn:" + partition + ":iam::" + account + ":mfa" + path + name
}

// mfaKey returns the storage key of a device. Names that differ only in case
// are one.
func mfaKey(account, path, name string) string {
	return mfaPrefix + account + strings.ToLower(path+name)
}

var serialNumber = regexp.MustCompile(`^[0-9A-Za-z_+=/:,.@-]{9,256}$`)

// parseSerialNumber takes the ARN of a device apart.
func parseSerialNumber(text string) (account, path, name string, ok bool) {
	a, err := arn.Parse(text)
	rest, is := strings.CutPrefix(a.Resource, "mfa/")
	if err != nil || !is || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account == "" || !serialNumber.MatchString(text) {
		return "", "", "", false
	}
	i := strings.LastIndexByte(rest, '/') + 1
	return a.Account, "/" + rest[:i], rest[i:], rest[i:] != ""
}

func deviceNotFound(serial string) error {
	return &Error{ErrNotFound, "VirtualMFADevice with serial number " + serial + " does not exist."}
}

func notOfUser() error { return &Error{ErrNotFound, "MFA Device invalid for user."} }

// device reads a device, whose seed the caller wipes. Errors: ErrNotFound.
func (d *Directory) device(ctx context.Context, serial string) (*device, record.Record, error) {
	account, path, name, ok := parseSerialNumber(serial)
	if !ok {
		return nil, record.Record{}, deviceNotFound(serial)
	}
	v, rec, err := read(ctx, d, record.KindMFADevice, mfaKey(account, path, name), serial, decodeDevice)
	if err == nil && v.SerialNumber != serial {
		v.seed.Wipe()
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		err = deviceNotFound(serial)
	}
	return v, rec, err
}

// mfaOwner reads which devices a user has; an empty list, and a record that was
// not read, for one without any.
func (d *Directory) mfaOwner(ctx context.Context, userID string) ([]string, record.Record, error) {
	list, rec, err := read(ctx, d, record.KindMFAOwner, mfaOwnerKey(userID), "the MFA devices of "+userID, decodeMFAOwner)
	if errors.Is(err, ErrNotFound) {
		return nil, record.Record{}, nil
	}
	return list, rec, err
}

// putMFAOwner lists the devices of a user in a transaction.
func putMFAOwner(tx *record.Tx, userID string, rec record.Record, serials []string) {
	switch {
	case len(serials) == 0 && rec.Rev != 0:
		tx.Delete(rec)
	case len(serials) == 0:
		tx.Absent(mfaOwnerKey(userID))
	case rec.Rev != 0:
		tx.Put(rec, encodeMFAOwner(serials))
	default:
		tx.Create(record.KindMFAOwner, mfaOwnerKey(userID), encodeMFAOwner(serials))
	}
}

// putDevice changes a device in a transaction. It returns what the caller wipes
// after the commit.
func putDevice(tx *record.Tx, rec record.Record, v *device) []byte {
	value := v.encode()
	tx.Put(rec, value)
	return value
}

// CreateMFADevice makes a virtual MFA device of v's account, path ("/" if
// empty), name and tags, for nobody yet. The caller wipes the seed, which is
// told nobody again. Errors: ErrExists, ErrInvalid, ErrLimit, ErrNotFound (the
// account).
func (d *Directory) CreateMFADevice(ctx context.Context, v MFADevice) (MFADevice, secret.Bytes, error) {
	if v.Path == "" {
		v.Path = "/"
	}
	v = MFADevice{Account: v.Account, Path: v.Path, Name: v.Name, Created: d.stamp(), Tags: v.Tags}
	v.SerialNumber = mfaARN(v.Account, v.Path, v.Name)
	if !serialNumber.MatchString(v.SerialNumber) {
		return MFADevice{}, secret.Bytes{}, &Error{ErrInvalid, "The serial number of an MFA device has up to 256 letters, digits and _+=/:,.@-"}
	}
	if err := errors.Join(checkName("MFA device", v.Account, v.Name, 226), checkPath(v.Path)); err != nil {
		return MFADevice{}, secret.Bytes{}, err
	}
	var err error
	if v.Tags, err = addTags(nil, v.Tags); err != nil {
		return MFADevice{}, secret.Bytes{}, err
	}
	seed := make([]byte, mfaSeedSize)
	rand.Read(seed)
	made := &device{MFADevice: v, seed: secret.New(seed)}
	key := mfaKey(v.Account, v.Path, v.Name)
	err = d.retry(ctx, func() error {
		_, owner, err := d.loadAccount(ctx, v.Account)
		if err != nil {
			return err
		}
		switch old, err := d.rs.Get(ctx, record.KindMFADevice, key); {
		case err == nil:
			clear(old.Value)
			return &Error{ErrExists, "MFADevice entity at the same path and name already exists."}
		case !errors.Is(err, record.ErrNotFound):
			return fmt.Errorf("making %s: %w", v.SerialNumber, err)
		}
		if err := d.room(ctx, mfaPrefix+v.Account+"/", MaxMFADevices, "MFADevices"); err != nil {
			return err
		}
		value := made.encode()
		defer clear(value)
		tx := d.rs.Begin()
		tx.Check(owner)
		tx.Create(record.KindMFADevice, key, value)
		return d.commit(ctx, tx, "making "+v.SerialNumber)
	})
	if err != nil {
		made.seed.Wipe()
		return MFADevice{}, secret.Bytes{}, err
	}
	return v, made.seed, nil
}

// MFADevice returns a device, or ErrNotFound.
func (d *Directory) MFADevice(ctx context.Context, serial string) (MFADevice, error) {
	v, _, err := d.device(ctx, serial)
	if err != nil {
		return MFADevice{}, err
	}
	v.seed.Wipe()
	return v.MFADevice, nil
}

// MFADevices returns a page of an account's virtual devices, ordered by
// lower-cased path and name, and the marker of the next page. Assigned, if it is
// not nil, wants those that are enabled for somebody, or those that are not.
func (d *Directory) MFADevices(ctx context.Context, account string, p Page, assigned *bool) ([]MFADevice, string, error) {
	return page(ctx, d, record.KindMFADevice, mfaPrefix+account+"/", p, func(rec record.Record) (MFADevice, bool, error) {
		v, err := decodeDevice(rec)
		if err != nil {
			return MFADevice{}, false, err
		}
		v.seed.Wipe()
		return v.MFADevice, assigned == nil || *assigned == (v.UserID != ""), nil
	})
}

// UserMFADevices returns the devices that are enabled for a user, in the order
// in which they were. Errors: ErrNotFound.
func (d *Directory) UserMFADevices(ctx context.Context, account, user string) ([]MFADevice, error) {
	u, _, err := d.entity(ctx, Entity{UserEntity, account, user})
	if err != nil {
		return nil, err
	}
	serials, _, err := d.mfaOwner(ctx, u.id)
	if err != nil {
		return nil, err
	}
	var list []MFADevice
	for _, serial := range serials {
		v, err := d.MFADevice(ctx, serial)
		if errors.Is(err, ErrNotFound) {
			continue // deleted underneath
		}
		if err != nil {
			return nil, err
		}
		if v.UserID == u.id {
			list = append(list, v)
		}
	}
	return list, nil
}

// CountMFADevices counts the virtual devices of an account, and those of them
// that are enabled for somebody.
func (d *Directory) CountMFADevices(ctx context.Context, account string) (all, inUse int, err error) {
	marker := ""
	for {
		list, next, err := d.MFADevices(ctx, account, Page{Marker: marker, Limit: 1000}, nil)
		if err != nil {
			return 0, 0, err
		}
		all += len(list)
		for i := range list {
			if list[i].UserID != "" {
				inUse++
			}
		}
		if marker = next; marker == "" {
			return all, inUse, nil
		}
	}
}

// EnableMFADevice gives a device to a user who has it: who tells two consecutive
// codes, the second of which is of now. The next one after them is the first
// that is good for anything. Errors: ErrNotFound, ErrExists (it is somebody's),
// ErrCode, ErrLimit.
func (d *Directory) EnableMFADevice(ctx context.Context, account, user, serial, first, second string) error {
	return d.retry(ctx, func() error {
		u, owner, err := d.entity(ctx, Entity{UserEntity, account, user})
		if err != nil {
			return err
		}
		v, rec, err := d.device(ctx, serial)
		if err == nil && v.Account != account {
			v.seed.Wipe()
			err = deviceNotFound(serial)
		}
		if err != nil {
			return err
		}
		defer v.seed.Wipe()
		if v.UserID != "" {
			return &Error{ErrExists, "MFA Device is already in use."}
		}
		serials, listed, err := d.mfaOwner(ctx, u.id)
		if err != nil {
			return err
		}
		if len(serials) >= MaxUserMFADevices {
			return overQuota("MFADevicesPerUser", MaxUserMFADevices)
		}
		v.drift = 0
		if err := d.synchronize(ctx, v, rec, totpWindow, first, second); err != nil {
			return err
		}
		v.UserID, v.Enabled = u.id, d.stamp()
		tx := d.rs.Begin()
		tx.Check(owner) // so that nobody deletes the user meanwhile
		putMFAOwner(tx, u.id, listed, append(slices.DeleteFunc(serials, func(s string) bool { return s == serial }), serial))
		defer clear(putDevice(tx, rec, v))
		return d.commit(ctx, tx, "enabling "+serial)
	})
}

// ResyncMFADevice notes how far a user's device is off, as two consecutive codes
// tell. Errors: ErrNotFound (also if it is not the user's), ErrCode.
func (d *Directory) ResyncMFADevice(ctx context.Context, account, user, serial, first, second string) error {
	return d.retry(ctx, func() error {
		v, rec, _, err := d.deviceOf(ctx, account, user, serial)
		if err != nil {
			return err
		}
		defer v.seed.Wipe()
		if err := d.synchronize(ctx, v, rec, totpSearch, first, second); err != nil {
			return err
		}
		v.drift = v.last - stepAt(d.now())
		tx := d.rs.Begin()
		defer clear(putDevice(tx, rec, v))
		return d.commit(ctx, tx, "synchronizing "+serial)
	})
}

// DeactivateMFADevice takes a device from a user. Errors: ErrNotFound, also if
// it is not the user's.
func (d *Directory) DeactivateMFADevice(ctx context.Context, account, user, serial string) error {
	return d.retry(ctx, func() error {
		v, rec, id, err := d.deviceOf(ctx, account, user, serial)
		if err != nil {
			return err
		}
		defer v.seed.Wipe()
		serials, listed, err := d.mfaOwner(ctx, id)
		if err != nil {
			return err
		}
		v.UserID, v.Enabled = "", time.Time{}
		tx := d.rs.Begin()
		putMFAOwner(tx, id, listed, slices.DeleteFunc(serials, func(s string) bool { return s == serial }))
		defer clear(putDevice(tx, rec, v))
		return d.commit(ctx, tx, "deactivating "+serial)
	})
}

// deviceOf reads a device that is enabled for a user, and the user's unique id.
// The caller wipes the seed.
func (d *Directory) deviceOf(ctx context.Context, account, user, serial string) (*device, record.Record, string, error) {
	u, _, err := d.entity(ctx, Entity{UserEntity, account, user})
	if err != nil {
		return nil, record.Record{}, "", err
	}
	v, rec, err := d.device(ctx, serial)
	if err != nil {
		return nil, record.Record{}, "", err
	}
	if v.Account != account || v.UserID != u.id {
		v.seed.Wipe()
		return nil, record.Record{}, "", notOfUser()
	}
	return v, rec, u.id, nil
}

// DeleteMFADevice deletes a device that is nobody's. Errors: ErrNotFound,
// ErrConflict.
func (d *Directory) DeleteMFADevice(ctx context.Context, serial string) error {
	return d.retry(ctx, func() error {
		v, rec, err := d.device(ctx, serial)
		if err != nil {
			return err
		}
		v.seed.Wipe()
		if v.UserID != "" {
			// Whose user was deleted underneath is nobody's.
			if _, err := d.entityByID(ctx, v.UserID); !errors.Is(err, ErrNotFound) {
				return errors.Join(err, &Error{ErrConflict, "MFA VirtualDevice in use. Must deactivate first."})
			}
		}
		tx := d.rs.Begin()
		tx.Delete(rec)
		return d.commit(ctx, tx, "deleting "+serial)
	})
}

// TagMFADevice gives a device tags; keys that differ only in case are one.
// Errors: ErrNotFound, ErrInvalid, ErrLimit.
func (d *Directory) TagMFADevice(ctx context.Context, serial string, tags []Tag) error {
	return d.changeDevice(ctx, serial, func(v *device) (bool, error) {
		next, err := addTags(v.Tags, tags)
		v.Tags = next
		return len(tags) > 0, err
	})
}

// UntagMFADevice takes tags from a device; unknown keys are no error.
func (d *Directory) UntagMFADevice(ctx context.Context, serial string, keys []string) error {
	return d.changeDevice(ctx, serial, func(v *device) (bool, error) {
		before := len(v.Tags)
		v.Tags = removeTags(v.Tags, keys)
		return len(v.Tags) < before, nil
	})
}

func (d *Directory) changeDevice(ctx context.Context, serial string, f func(v *device) (changed bool, err error)) error {
	return d.retry(ctx, func() error {
		v, rec, err := d.device(ctx, serial)
		if err != nil {
			return err
		}
		defer v.seed.Wipe()
		changed, err := f(v)
		if err != nil || !changed {
			return err
		}
		tx := d.rs.Begin()
		defer clear(putDevice(tx, rec, v))
		return d.commit(ctx, tx, "changing "+serial)
	})
}

// VerifyMFA uses up a code of a device that is enabled for the caller, who is a
// user. When it returns nil, the code is good for nothing any more, on no node
// and after no crash. Errors: ErrNotFound (there is no such device, or it is
// not the caller's), ErrCode, ErrTries.
func (d *Directory) VerifyMFA(ctx context.Context, caller *call.Principal, serial, code string) error {
	if caller.Kind != call.User {
		return deviceNotFound(serial)
	}
	return d.retry(ctx, func() error {
		v, rec, err := d.device(ctx, serial)
		if err != nil {
			return err
		}
		defer v.seed.Wipe()
		if v.Account != caller.Account || v.UserID != caller.EntityID {
			return deviceNotFound(serial)
		}
		// As with access keys, both must say so.
		serials, _, err := d.mfaOwner(ctx, v.UserID)
		if err != nil {
			return err
		}
		if !slices.Contains(serials, serial) {
			return deviceNotFound(serial)
		}
		return d.attempt(ctx, v, rec, func() bool {
			step, ok := findTOTP(v.seed.Reveal(), stepAt(d.now())+v.drift, v.last, code)
			if ok {
				v.last = step
			}
			return ok
		}, true)
	})
}

// synchronize looks for two consecutive codes up to reach steps away, and notes
// the step of the second one as used.
func (d *Directory) synchronize(ctx context.Context, v *device, rec record.Record, reach int64, first, second string) error {
	return d.attempt(ctx, v, rec, func() bool {
		step, ok := findTOTPs(v.seed.Reveal(), stepAt(d.now()), reach, v.last, first, second)
		if ok {
			v.last = step
		}
		return ok
	}, false)
}

// attempt tries a code, unless too many were wrong lately. A wrong one is noted
// in the record; a right one as well if it is to be put, else by the caller.
func (d *Directory) attempt(ctx context.Context, v *device, rec record.Record, right func() bool, put bool) error {
	now := d.stamp()
	room := mfaMinute
	if v.failures >= mfaPatience {
		room = mfaHour
	}
	if since := now.Sub(v.began); since >= room || since <= -room {
		v.tries = 0
	}
	if v.tries >= mfaTries || d.behind() {
		d.log.Warn("a code of an MFA device was not looked at: too many were wrong, or the clock is behind", "device", v.SerialNumber)
		return &Error{ErrTries, textCode}
	}
	ok := right()
	if ok {
		v.tries, v.failures = 0, 0
		if !put {
			return nil
		}
	} else {
		if v.tries == 0 {
			v.began = now
		}
		v.tries++
		v.failures = min(v.failures+1, 1<<20)
	}
	tx := d.rs.Begin()
	defer clear(putDevice(tx, rec, v))
	if err := d.commit(ctx, tx, "noting a code of "+v.SerialNumber); err != nil {
		return err
	}
	if !ok {
		return &Error{ErrCode, textCode}
	}
	return nil
}
