package identity

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Where the records are. A user's name is in lower case there, which makes
// names that differ only in case one.
const (
	accountPrefix   = "v1/acct/"
	userPrefix      = "v1/user/"
	accessKeyPrefix = "v1/akid/"
	rootKey         = "v1/sys/identity"
)

func accountKey(id string) string   { return accountPrefix + id }
func accessKeyKey(id string) string { return accessKeyPrefix + id }
func userKey(account, name string) string {
	return userPrefix + account + "/" + strings.ToLower(name)
}

// The values of records begin with their version, 1. A string is its length as
// a varint and its bytes; a list is its length and its strings; a time is
// milliseconds since 1970, 8 bytes, big-endian.
//
//	account     version, flags (1: management), name, created
//	user        version, name, path, id, policies, access keys, created
//	access key  version, flags (1: active), account, user name, user id, created, secret
//	identity    version, management account, administrator's name, its first access key's id
const valueVersion = 1

func (a *Account) encode() []byte {
	b := []byte{valueVersion, flag(a.Management)}
	b = appendString(b, a.Name)
	return appendTime(b, a.Created)
}

func decodeAccount(rec record.Record) (*Account, error) {
	r := newReader(rec.Value)
	a := &Account{ID: strings.TrimPrefix(rec.Key, accountPrefix), Management: r.flag()}
	a.Name = r.string()
	a.Created = r.time()
	return a, r.end()
}

func (u *User) encode() []byte {
	b := []byte{valueVersion}
	b = appendString(b, u.Name)
	b = appendString(b, u.Path)
	b = appendString(b, u.ID)
	b = appendStrings(b, u.Policies)
	b = appendStrings(b, u.AccessKeys)
	return appendTime(b, u.Created)
}

func decodeUser(rec record.Record) (*User, error) {
	r := newReader(rec.Value)
	u := new(User)
	u.Account, _, _ = strings.Cut(strings.TrimPrefix(rec.Key, userPrefix), "/")
	u.Name = r.string()
	u.Path = r.string()
	u.ID = r.string()
	u.Policies = r.strings()
	u.AccessKeys = r.strings()
	u.Created = r.time()
	u.ARN = arn.User("aws", u.Account, u.Path, u.Name)
	return u, r.end()
}

// encode returns the record's value, which the caller wipes.
func (k *AccessKey) encode() []byte {
	// Room for all of it, so that growing leaves no copy of the secret behind.
	b := make([]byte, 0, 64+len(k.Account)+len(k.User)+len(k.UserID)+k.Secret.Len())
	b = append(b, valueVersion, flag(k.Active))
	b = appendString(b, k.Account)
	b = appendString(b, k.User)
	b = appendString(b, k.UserID)
	b = appendTime(b, k.Created)
	b = binary.AppendUvarint(b, uint64(k.Secret.Len()))
	return append(b, k.Secret.Reveal()...)
}

// decodeAccessKey wipes the record's value.
func decodeAccessKey(rec record.Record) (*AccessKey, error) {
	defer clear(rec.Value)
	r := newReader(rec.Value)
	k := &AccessKey{ID: strings.TrimPrefix(rec.Key, accessKeyPrefix), Active: r.flag()}
	k.Account = r.string()
	k.User = r.string()
	k.UserID = r.string()
	k.Created = r.time()
	k.Secret = secret.New(slices.Clone(r.bytes()))
	return k, r.end()
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

// reader takes a value apart. After the first thing that is wrong, it hands out
// zero values, and end says so.
type reader struct {
	b   []byte
	err error
}

func newReader(value []byte) *reader {
	r := &reader{b: value}
	if v := r.take(1); r.err == nil && v[0] != valueVersion {
		r.err = fmt.Errorf("identity: a record of version %d, this program knows %d", v[0], valueVersion)
	}
	return r
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("identity: a damaged record")
	}
	r.b = nil
}

// take returns the next n bytes, or nil if there are fewer.
func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) flag() bool {
	b := r.take(1)
	if b == nil {
		return false
	}
	if b[0] > 1 {
		r.fail()
	}
	return b[0] == 1
}

func (r *reader) length() uint64 {
	n, size := binary.Uvarint(r.b)
	// In its shortest form, so that a record has one encoding.
	if r.err != nil || size <= 0 || size > 1 && r.b[size-1] == 0 || n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte  { return r.take(r.length()) }
func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) strings() []string {
	n := r.length()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.string())
	}
	return list
}

func (r *reader) time() time.Time {
	b := r.take(8)
	if b == nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
}

// end returns what was wrong; there must be nothing left.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fail()
	}
	return r.err
}
