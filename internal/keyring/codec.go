package keyring

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
)

// What the records of this package hold, inside the seal of package record.
// The first byte of each is its version. uvarint is that of encoding/binary in
// its shortest form; text is a uvarint length and that many bytes of UTF-8;
// bytes is the same without UTF-8; time is a uvarint of milliseconds since
// 1970, UTC, 0 for none.
//
//	key, version 1 (its account, Region and id are in the storage key):
//
//	  1      version: 0x01
//	  1      spec    } numbers of the tables below,
//	  1      usage   } which are never renumbered
//	  1      state   }
//	  1      policy: 0 = as text below, 1 = the default key policy
//	  32     material id
//	  time   created
//	  time   deletion
//	  uvarint number of aliases
//	  text   description
//	  bytes  SubjectPublicKeyInfo, empty unless asymmetric
//	  uvarint number of tags; of each: text key, text value
//	  text   policy, only if the byte above is 0
//
//	What more there is, the bits of that byte say, in this order:
//
//	bindings     uvarint number; of each: text ARN, text unique id
//	grantees     1 byte
//	alias names  as many as aliases: text
//	rotation     uvarint days between automatic rotations, 0 if there are none;
//	             time of the next; uvarint number of rotations on demand
//	materials    uvarint number; of each, the oldest first: 32 bytes id; 1 state;
//	             1 type of the rotation that made it current, 0 for none; time of
//	             that rotation; 1 flags (1 imported and here, 2 expires); time of
//	             expiry, only if it expires; text description
//	external     nothing: that the material is imported
//	regions      text primary Region; uvarint number of the members' Regions,
//	             of each, sorted: text; 1 state that an Updating key returns to, else 0;
//	             uvarint days that a primary key waits after its last replica, else 0
//
//	material, version 1:  0x01, token (seal.Materials; AAD: tokenLabel ‖ 00 ‖ ARN ‖ 00 ‖ material id in hex)
//	alias, version 1:     0x01, text target key id, time created, time updated
//	alias of a key, version 1: 0x01, time created, time updated
//	deletion that is due, version 1: 0x01
const recordVersion = 1

// tokenLabel begins the associated data of a material's token.
const tokenLabel = "keyreeve material token v1"

var (
	specNumbers  = []Spec{1: SymmetricDefault, 2: RSA2048, 3: RSA3072, 4: RSA4096, 5: ECCNISTP256, 6: ECCNISTP384, 7: ECCNISTP521, 8: ECCSECGP256K1, 9: HMAC224, 10: HMAC256, 11: HMAC384, 12: HMAC512, 13: ECCEdwards25519, 14: MLKEM512, 15: MLKEM768, 16: MLKEM1024, 17: MLDSA44, 18: MLDSA65, 19: MLDSA87, 20: SM2}
	usageNumbers = []Usage{1: EncryptDecrypt, 2: SignVerify, 3: GenerateVerifyMAC, 4: KeyAgreement, 5: EncapsulateDecapsulate}
	stateNumbers = []State{1: Enabled, 2: Disabled, 3: PendingDeletion, 4: destroying, 5: PendingImport, 6: PendingReplicaDeletion, 7: Creating, 8: Updating}

	materialStateNumbers = []MaterialState{1: Current, 2: NonCurrent, 3: PendingRotation, 4: PendingMultiRegionImportAndRotation}
	rotationTypeNumbers  = []RotationType{1: Automatic, 2: OnDemand}
)

// destroying is the state of a key whose waiting period is over and whose
// material is being destroyed. Nobody finds it any more.
const destroying State = "destroying"

// What follows in the record of a key.
const (
	hasDefaultPolicy = 1 << iota
	hasBindings
	hasGrantees
	hasAliasNames
	hasRotation
	hasMaterials
	hasExternal
	hasRegions // the eighth: another needs another version
)

// maxStoredTags bounds what a decoder makes room for.
const (
	maxStoredTags      = 1 << 10
	maxStoredBindings  = 1 << 12
	maxStoredMaterials = 1 << 12
)

// errRecord says that a record, although sealed by us, does not decode.
var errRecord = errors.New("keyring: malformed record")

// number returns the index of v in a table, 0 if it is not there.
func number[T comparable](table []T, v T) byte {
	for i := 1; i < len(table); i++ {
		if table[i] == v {
			return byte(i)
		}
	}
	return 0
}

// appendKey appends the record of a key.
func appendKey(b []byte, m *Metadata) ([]byte, error) {
	spec, usage, state := number(specNumbers, m.Spec), number(usageNumbers, m.Usage), number(stateNumbers, m.State)
	if spec == 0 || usage == 0 || state == 0 || !Compatible(m.Spec, m.Usage) {
		return nil, fmt.Errorf("%w: spec %q, usage %q, state %q", ErrParameter, m.Spec, m.Usage, m.State)
	}
	has := byte(0)
	if m.Policy == DefaultPolicy(m.Region, m.Account) {
		has |= hasDefaultPolicy
	}
	if len(m.Bindings) > 0 {
		has |= hasBindings
	}
	if m.grantees != 0 {
		has |= hasGrantees
	}
	if len(m.aliasNames) > 0 && len(m.aliasNames) == m.Aliases {
		has |= hasAliasNames
	}
	if m.Rotation != (Rotation{}) {
		has |= hasRotation
	}
	if len(m.Materials) > 0 {
		has |= hasMaterials
	}
	if m.Origin == External {
		has |= hasExternal
	}
	if m.MultiRegion != nil {
		has |= hasRegions
	}
	b = append(b, recordVersion, spec, usage, state, has)
	var id [32]byte
	if m.MaterialID != "" && !parseLowerHex(id[:], m.MaterialID) {
		return nil, fmt.Errorf("%w: material id", ErrParameter)
	}
	if !utf8.ValidString(m.Description) || !utf8.ValidString(m.Policy) || len(m.Tags) > maxStoredTags {
		return nil, fmt.Errorf("%w: description, policy or tags", ErrParameter)
	}
	b = append(b, id[:]...)
	b = appendTime(b, m.Created)
	b = appendTime(b, m.Deletion)
	b = binary.AppendUvarint(b, uint64(m.Aliases))
	b = appendText(b, m.Description)
	b = binary.AppendUvarint(b, uint64(len(m.PublicKey)))
	b = append(b, m.PublicKey...)
	b = binary.AppendUvarint(b, uint64(len(m.Tags)))
	for _, t := range m.Tags {
		if !utf8.ValidString(t.Key) || !utf8.ValidString(t.Value) {
			return nil, fmt.Errorf("%w: tag", ErrParameter)
		}
		b = appendText(b, t.Key)
		b = appendText(b, t.Value)
	}
	if has&hasDefaultPolicy == 0 {
		b = appendText(b, m.Policy)
	}
	if has&hasBindings != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Bindings)))
		for _, binding := range m.Bindings {
			b = appendText(appendText(b, binding.ARN), binding.ID)
		}
	}
	if has&hasGrantees != 0 {
		b = append(b, byte(m.grantees))
	}
	if has&hasAliasNames != 0 {
		for _, name := range m.aliasNames {
			b = appendText(b, name)
		}
	}
	if has&hasRotation != 0 {
		b = binary.AppendUvarint(b, uint64(m.Rotation.PeriodDays))
		b = appendTime(b, m.Rotation.Next)
		b = binary.AppendUvarint(b, uint64(m.Rotation.OnDemand))
	}
	if has&hasMaterials != 0 {
		var err error
		if b, err = appendMaterials(b, m.Materials); err != nil {
			return nil, err
		}
	}
	if has&hasRegions != 0 {
		b = appendText(b, m.MultiRegion.Primary)
		b = binary.AppendUvarint(b, uint64(len(m.MultiRegion.Regions)))
		for _, region := range m.MultiRegion.Regions {
			b = appendText(b, region)
		}
		b = append(b, number(stateNumbers, m.MultiRegion.Resume))
		b = binary.AppendUvarint(b, uint64(m.MultiRegion.Window))
	}
	return b, nil
}

// Flags of a material.
const (
	materialImported = 1 << iota
	materialExpires
)

func appendMaterials(b []byte, materials []Material) ([]byte, error) {
	if len(materials) > maxStoredMaterials {
		return nil, fmt.Errorf("%w: number of materials", ErrParameter)
	}
	b = binary.AppendUvarint(b, uint64(len(materials)))
	for _, mat := range materials {
		var id [32]byte
		state, by := number(materialStateNumbers, mat.State), number(rotationTypeNumbers, mat.RotatedBy)
		if !parseLowerHex(id[:], mat.ID) || state == 0 || by == 0 && mat.RotatedBy != "" || !utf8.ValidString(mat.Description) {
			return nil, fmt.Errorf("%w: material", ErrParameter)
		}
		flags := byte(0)
		if mat.Imported {
			flags |= materialImported
		}
		if !mat.Expires.IsZero() {
			flags |= materialExpires
		}
		b = append(append(b, id[:]...), state, by)
		b = append(appendTime(b, mat.Rotated), flags)
		if !mat.Expires.IsZero() {
			b = appendTime(b, mat.Expires)
		}
		b = appendText(b, mat.Description)
	}
	return b, nil
}

func (r *recordReader) materials() []Material {
	n := r.count(maxStoredMaterials)
	r.bad = r.bad || n == 0
	var list []Material
	for i := 0; i < n && !r.bad; i++ {
		mat := Material{ID: hex.EncodeToString(r.take(32)), State: entry(r, materialStateNumbers)}
		mat.RotatedBy = optional(r, rotationTypeNumbers)
		mat.Rotated = r.time()
		flags := r.byte()
		mat.Imported = flags&materialImported != 0
		if flags&materialExpires != 0 {
			mat.Expires = r.time()
			r.bad = r.bad || mat.Expires.IsZero()
		}
		r.bad = r.bad || flags&^(materialImported|materialExpires) != 0
		mat.Description = r.text()
		list = append(list, mat)
	}
	return list
}

func (r *recordReader) multiRegion() *MultiRegion {
	set := &MultiRegion{Primary: r.text()}
	n := r.count(maxStoredTags)
	for i := 0; i < n && !r.bad; i++ {
		set.Regions = append(set.Regions, r.text())
		r.bad = r.bad || i > 0 && set.Regions[i-1] >= set.Regions[i]
	}
	set.Resume = optional(r, stateNumbers)
	set.Window = r.count(1 << 10)
	r.bad = r.bad || !slices.Contains(set.Regions, set.Primary)
	return set
}

// decodeKey decodes the record of a key into m, given its storage key.
func decodeKey(m *Metadata, storageKey string, b []byte) error {
	account, region, id, ok := splitKeyKey(storageKey)
	if !ok {
		return fmt.Errorf("%w: storage key", errRecord)
	}
	*m = Metadata{ARN: arn.Key(region, account, id)}
	// The parts share the memory of the ARN.
	rest := m.ARN[:len(m.ARN)-len(id)]
	m.ID = m.ARN[len(rest):]
	rest = rest[:len(rest)-len(":key/")]
	m.Account = rest[len(rest)-len(account):]
	rest = rest[:len(rest)-len(account)-len(":")]
	m.Region = rest[len(rest)-len(region):]
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	m.Spec = entry(&r, specNumbers)
	m.Usage = entry(&r, usageNumbers)
	m.State = entry(&r, stateNumbers)
	has := r.byte()
	if m.MaterialID = hex.EncodeToString(r.take(32)); m.MaterialID == zeroMaterialID {
		m.MaterialID = ""
	}
	m.Created = r.time()
	m.Deletion = r.time()
	m.Aliases = r.count(math.MaxInt32)
	m.Description = r.text()
	if spki := r.take(r.count(len(r.b))); len(spki) > 0 {
		m.PublicKey = append([]byte(nil), spki...)
	}
	if n := r.count(maxStoredTags); n > 0 && !r.bad {
		m.Tags = make([]Tag, 0, n)
		for range n {
			m.Tags = append(m.Tags, Tag{Key: r.text(), Value: r.text()})
		}
	}
	if has&hasDefaultPolicy != 0 {
		m.Policy = DefaultPolicy(m.Region, m.Account)
	} else {
		m.Policy = r.text()
		r.bad = r.bad || m.Policy == DefaultPolicy(m.Region, m.Account)
	}
	if has&hasBindings != 0 {
		n := r.count(maxStoredBindings)
		r.bad = r.bad || n == 0
		for i := 0; i < n && !r.bad; i++ {
			m.Bindings = append(m.Bindings, Binding{ARN: r.text(), ID: r.text()})
			r.bad = r.bad || i > 0 && m.Bindings[i-1].ARN >= m.Bindings[i].ARN
		}
	}
	if has&hasGrantees != 0 {
		m.grantees = grantees(r.byte())
		r.bad = r.bad || m.grantees == 0
	}
	if has&hasAliasNames != 0 {
		r.bad = r.bad || m.Aliases == 0 || m.Aliases > maxStoredTags
		for i := 0; i < m.Aliases && !r.bad; i++ {
			m.aliasNames = append(m.aliasNames, r.text())
			r.bad = r.bad || i > 0 && m.aliasNames[i-1] >= m.aliasNames[i]
		}
	}
	if has&hasRotation != 0 {
		m.Rotation = Rotation{PeriodDays: r.count(math.MaxInt32), Next: r.time(), OnDemand: r.count(math.MaxInt32)}
		r.bad = r.bad || m.Rotation == Rotation{}
	}
	if has&hasMaterials != 0 {
		m.Materials = r.materials()
	}
	m.Origin = AWSKMS
	if has&hasExternal != 0 {
		m.Origin = External
	}
	if has&hasRegions != 0 {
		m.MultiRegion = r.multiRegion()
	}
	if r.bad || len(r.b) != 0 || !Compatible(m.Spec, m.Usage) {
		return fmt.Errorf("%w: key", errRecord)
	}
	return nil
}

// decodeState decodes what the record of a key says of its state alone: of all
// that is in it, that is what a list of many keys needs.
func decodeState(b []byte) (s State, deletion time.Time, err error) {
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	r.take(2) // spec and usage
	s = entry(&r, stateNumbers)
	r.take(1 + 32) // policy, material id
	r.time()       // created
	deletion = r.time()
	if r.bad {
		err = fmt.Errorf("%w: key", errRecord)
	}
	return s, deletion, err
}

// appendAlias appends the record of an alias.
func appendAlias(b []byte, targetID string, created, updated time.Time) []byte {
	b = appendText(append(b, recordVersion), targetID)
	return appendTime(appendTime(b, created), updated)
}

func decodeAlias(b []byte) (targetID string, created, updated time.Time, err error) {
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	targetID, created, updated = r.text(), r.time(), r.time()
	if _, _, ok := parseKeyID(targetID); !ok || r.bad || len(r.b) != 0 {
		err = fmt.Errorf("%w: alias", errRecord)
	}
	return targetID, created, updated, err
}

// appendAliasOf appends the record of an alias among those of a key.
func appendAliasOf(b []byte, created, updated time.Time) []byte {
	return appendTime(appendTime(append(b, recordVersion), created), updated)
}

func decodeAliasOf(b []byte) (created, updated time.Time, err error) {
	r := recordReader{b: b}
	if r.byte() != recordVersion {
		r.bad = true
	}
	created, updated = r.time(), r.time()
	if r.bad || len(r.b) != 0 {
		err = fmt.Errorf("%w: alias of a key", errRecord)
	}
	return created, updated, err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(t.UnixMilli()))
}

// recordReader reads a record. After the first thing that is not there or not
// as it should be, bad is set and it returns zero values.
type recordReader struct {
	b   []byte
	bad bool
}

func (r *recordReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *recordReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// uvarint reads a uvarint in its shortest form.
func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a uvarint that is at most limit.
func (r *recordReader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *recordReader) text() string {
	b := r.take(r.count(len(r.b)))
	if !utf8.Valid(b) {
		r.bad = true
		return ""
	}
	return string(b)
}

// maxMilli is the year 9999, so that no time overflows.
const maxMilli = 253_402_300_799_999

func (r *recordReader) time() time.Time {
	v := r.uvarint()
	if v > maxMilli {
		r.bad = true
	}
	if r.bad || v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(v)).UTC()
}

// entry reads a number and returns what it stands for in a table.
func entry[T any](r *recordReader, table []T) T {
	n := int(r.byte())
	if n == 0 || n >= len(table) {
		r.bad = true
		n = 0
	}
	return table[n]
}

// optional is entry, and 0 stands for nothing.
func optional[T any](r *recordReader, table []T) T {
	n := int(r.byte())
	if n >= len(table) {
		r.bad = true
		n = 0
	}
	return table[n]
}

// The keyspace; package record has all of it.
const (
	keyPrefix     = "v1/key/"
	matPrefix     = "v1/mat/"
	aliasPrefix   = "v1/alias/"
	aliasOfPrefix = "v1/aliasof/"
	duePrefix     = "v1/due/"

	grantPrefix     = "v1/grant/"
	granteePrefix   = "v1/grantee/"
	retiringPrefix  = "v1/retiring/"
	grantNamePrefix = "v1/grantname/"
)

// dueLayout is the time in a due record's key: RFC 3339 of fixed width, so that
// the keys are in the order of time.
const dueLayout = "2006-01-02T15:04:05.000Z"

func keyKey(account, region, id string) string { return keyPrefix + account + "/" + region + "/" + id }

func matKey(account, region, id, materialID string) string {
	return matPrefix + account + "/" + region + "/" + id + "/" + materialID
}

func aliasKey(account, region, name string) string {
	return aliasPrefix + account + "/" + region + "/" + name
}

func aliasOfKey(account, region, id, name string) string {
	return aliasOfPrefix + account + "/" + region + "/" + id + "/" + name
}

func dueKey(d due, account, region, id string) string {
	return duePrefix + d.at.UTC().Format(dueLayout) + "/" + d.job + "/" + account + "/" + region + "/" + id
}

// splitKeyKey takes the storage key of a key apart.
func splitKeyKey(key string) (account, region, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return "", "", "", false
	}
	return splitName(rest)
}

// splitDueKey takes the storage key of a due record apart; ok is false if it is
// not that of a job of this package, and then only the time is there.
func splitDueKey(key string) (d due, account, region, id string, ok bool) {
	when, rest, _ := strings.Cut(strings.TrimPrefix(key, duePrefix), "/")
	at, err := time.Parse(dueLayout, when)
	if err != nil {
		return due{}, "", "", "", false
	}
	job, rest, _ := strings.Cut(rest, "/")
	if !isJob(job) {
		return due{at: at}, "", "", "", false
	}
	account, region, id, ok = splitName(rest)
	return due{at: at, job: job}, account, region, id, ok
}

// splitName takes account/region/id apart and checks them.
func splitName(s string) (account, region, id string, ok bool) {
	account, s, _ = strings.Cut(s, "/")
	region, id, _ = strings.Cut(s, "/")
	return account, region, id, validName(account, region, id)
}

// validName reports whether account, Region and key id have the form of such,
// so that they can stand in a storage key.
func validName(account, region, id string) bool {
	_, _, ok := parseKeyID(id)
	return ok && validScope(account, region)
}

func validScope(account, region string) bool {
	return arn.IsAccount(account) && region != "" && len(region) <= 64 && strings.IndexByte(region, '/') < 0
}

// validAlias reports whether an alias name can stand in a storage key. The
// API's stricter pattern is checked by its owner.
func validAlias(name string) bool {
	return strings.HasPrefix(name, "alias/") && len(name) > len("alias/") && len(name) <= 256
}
