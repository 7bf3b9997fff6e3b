package identity

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Where the records are. Names are in lower case there, which makes names that
// differ only in case one.
const (
	accountPrefix   = "v1/acct/"
	userPrefix      = "v1/user/"
	groupPrefix     = "v1/group/"
	rolePrefix      = "v1/role/"
	policyPrefix    = "v1/policy/"
	uniquePrefix    = "v1/uid/"
	accessKeyPrefix = "v1/akid/"
	rootKey         = "v1/sys/identity"

	orgPrefix       = "v1/org/"
	unitPrefix      = "v1/ou/"
	orgPolicyPrefix = "v1/orgpolicy/"
	requestPrefix   = "v1/newacct/"
	duePrefix       = "v1/newacctdue/"
	emailPrefix     = "v1/email/"
)

func accountKey(id string) string   { return accountPrefix + id }
func accessKeyKey(id string) string { return accessKeyPrefix + id }
func uniqueKey(id string) string    { return uniquePrefix + id }
func named(prefix, account, name string) string {
	return prefix + account + "/" + strings.ToLower(name)
}

// The values of records begin with their version. A string is its length as a
// varint and its bytes; a list is its length and what is in it; a pair is two
// strings; a number is a varint; a time is milliseconds since 1970, 8 bytes,
// big-endian.
//
//	account 1   flags (1: management), name, created
//	account 2   the same, then access keys of the root user, not before,
//	            organization, parent, list of policies
//	account 3   the same, then e-mail address, flags (1: made by its
//	            organization), when it joined that, when it was closed, tags
//	            (pairs)
//	account 4   the same, then the Regions that it has enabled
//	user 1      name, path, id, list of policies, list of access keys, created
//	user 2      see entity.encode, as for groups and roles
//	access key  flags (1: active), account, user name, user id, created, secret
//	unique id   kind, account, lower-case name
//	identity    management account, administrator's name, its first access key's
//	            id; of version 2 once every user is listed by its unique id
//
// The others are described where they are encoded. All are of version 1 if
// nothing else is said.
const (
	accountVersion   = 4
	entityVersion    = 2
	accessKeyVersion = 1
	identityVersion  = 2
)

func (a *account) encode() []byte {
	b := []byte{accountVersion, flag(a.Management)}
	b = appendString(b, a.Name)
	b = appendTime(b, a.Created)
	b = appendStrings(b, a.AccessKeys)
	b = appendTime(b, a.NotBefore)
	b = appendString(b, a.Organization)
	b = appendString(b, a.Parent)
	b = appendStrings(b, a.policies)
	b = appendString(b, a.Email)
	b = append(b, flag(a.Made))
	b = appendTime(b, a.Joined)
	b = appendTime(b, a.Closed)
	b = appendPairs(b, a.Tags)
	return appendStrings(b, a.Regions)
}

func decodeAccount(rec record.Record) (*account, error) {
	r := newReader(rec.Value, accountVersion)
	a := new(account)
	a.ID = strings.TrimPrefix(rec.Key, accountPrefix)
	a.Management = r.flag()
	a.Name = r.string()
	a.Created = r.time()
	if r.version >= 2 {
		a.AccessKeys = r.strings()
		a.NotBefore = r.time()
		a.Organization = r.string()
		a.Parent = r.string()
		a.policies = r.strings()
	}
	if r.version >= 3 {
		a.Email = r.string()
		a.Made = r.flag()
		a.Joined = r.time()
		a.Closed = r.time()
		a.Tags = r.pairs()
	}
	if r.version >= 4 {
		a.Regions = r.strings()
	}
	return a, r.end()
}

// encode returns the record's value: name, path, unique id, created, tags
// (pairs), inline policies (pairs of name and text), attached policies (pairs
// of ARN and unique id), boundary (such a pair); then
//
//	of a user   list of access keys, list of unique ids of groups, not before
//	of a group  number of members
//	of a role   description, longest session in seconds, trust policy, who is
//	            bound in it (pairs of ARN and unique id), not before
func (e *entity) encode() []byte {
	b := []byte{entityVersion}
	b = appendString(b, e.name)
	b = appendString(b, e.path)
	b = appendString(b, e.id)
	b = appendTime(b, e.created)
	b = appendPairs(b, e.tags)
	b = appendPairs(b, e.inline)
	b = appendPairs(b, e.attached)
	b = appendPairs(b, []reference{e.boundary})
	switch e.kind {
	case UserEntity:
		b = appendStrings(b, e.accessKeys)
		b = appendStrings(b, e.groups)
		b = appendTime(b, e.notBefore)
	case GroupEntity:
		b = binary.AppendUvarint(b, uint64(e.members))
	case RoleEntity:
		b = appendString(b, e.description)
		b = binary.AppendUvarint(b, uint64(e.maxSession/time.Second))
		b = appendString(b, e.trust)
		b = appendPairs(b, e.trusted)
		b = appendTime(b, e.notBefore)
	}
	return b
}

// decodeEntity returns the decoder of one kind of entity.
func decodeEntity(kind EntityKind) func(record.Record) (*entity, error) {
	return func(rec record.Record) (*entity, error) {
		r := newReader(rec.Value, entityVersion)
		e := &entity{kind: kind}
		e.account, _, _ = strings.Cut(strings.TrimPrefix(rec.Key, kinds[kind].prefix), "/")
		e.name = r.string()
		e.path = r.string()
		e.id = r.string()
		if r.version == 1 {
			if kind != UserEntity {
				r.fail()
			}
			for _, arn := range r.strings() {
				e.attached = append(e.attached, reference{Name: arn, Value: awsPolicyID(arn)})
			}
			e.accessKeys = r.strings()
			e.created = r.time()
			return e, r.end()
		}
		e.created = r.time()
		e.tags = r.pairs()
		e.inline = r.pairs()
		e.attached = r.pairs()
		if boundary := r.pairs(); len(boundary) == 1 {
			e.boundary = boundary[0]
		} else {
			r.fail()
		}
		switch kind {
		case UserEntity:
			e.accessKeys = r.strings()
			e.groups = r.strings()
			e.notBefore = r.time()
		case GroupEntity:
			e.members = r.number()
		case RoleEntity:
			e.description = r.string()
			e.maxSession = time.Duration(r.number()) * time.Second
			e.trust = r.string()
			e.trusted = r.pairs()
			e.notBefore = r.time()
		}
		return e, r.end()
	}
}

// unique is what a unique id stands for.
type unique struct {
	kind    EntityKind
	account string
	name    string // in lower case
}

func (u unique) encode() []byte {
	b := []byte{1, byte(u.kind)}
	b = appendString(b, u.account)
	return appendString(b, u.name)
}

func decodeUnique(rec record.Record) (unique, error) {
	r := newReader(rec.Value, 1)
	var u unique
	if b := r.take(1); b != nil {
		u.kind = EntityKind(b[0])
	}
	if u.kind < UserEntity || u.kind > RoleEntity {
		r.fail()
	}
	u.account = r.string()
	u.name = r.string()
	return u, r.end()
}

// encode returns the record's value, which the caller wipes.
func (k *AccessKey) encode() []byte {
	// Room for all of it, so that growing leaves no copy of the secret behind.
	b := make([]byte, 0, 64+len(k.Account)+len(k.User)+len(k.UserID)+k.Secret.Len())
	b = append(b, accessKeyVersion, flag(k.Active))
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
	r := newReader(rec.Value, accessKeyVersion)
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

func appendPairs(b []byte, list []reference) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, p := range list {
		b = appendString(b, p.Name)
		b = appendString(b, p.Value)
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

// reader takes a value apart. After the first thing that is wrong, it hands out
// zero values, and end says so.
type reader struct {
	version byte
	b       []byte
	err     error
}

// newReader begins to read a value of any version up to newest.
func newReader(value []byte, newest byte) *reader {
	r := &reader{b: value}
	if v := r.take(1); r.err == nil {
		if r.version = v[0]; v[0] == 0 || v[0] > newest {
			r.err = fmt.Errorf("identity: a record of version %d, this program knows %d", v[0], newest)
		}
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

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	// In its shortest form, so that a record has one encoding.
	if r.err != nil || size <= 0 || size > 1 && r.b[size-1] == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// number returns a number that fits a signed 32-bit one.
func (r *reader) number() int {
	n := r.uvarint()
	if n > 1<<31-1 {
		r.fail()
		return 0
	}
	return int(n)
}

// length returns the length of something that is still to come.
func (r *reader) length() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return n
}

func (r *reader) bytes() []byte  { return r.take(r.length()) }
func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) strings() []string {
	n := r.length()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, min(n, 64))
	for range n {
		list = append(list, r.string())
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (r *reader) pairs() []reference {
	n := r.length()
	if n == 0 {
		return nil
	}
	list := make([]reference, 0, min(n, 64))
	for range n {
		list = append(list, reference{Name: r.string(), Value: r.string()})
		if r.err != nil {
			return nil
		}
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
