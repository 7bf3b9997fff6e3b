package keyring

import (
	"context"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
)

// MaterialState is what a material of a key is now, spelled as the API's
// KeyMaterialState.
type MaterialState string

// The states of material.
const (
	Current         MaterialState = "CURRENT"          // encrypts and decrypts
	NonCurrent      MaterialState = "NON_CURRENT"      // decrypts
	PendingRotation MaterialState = "PENDING_ROTATION" // imported, and used after the next rotation on demand

	// Imported into the primary key, and awaited by replicas.
	PendingMultiRegionImportAndRotation MaterialState = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
)

// RotationType is what made a material current, spelled as the API's.
type RotationType string

// The types of rotation.
const (
	Automatic RotationType = "AUTOMATIC"
	OnDemand  RotationType = "ON_DEMAND"
)

// Material is a material of a key, without the material itself.
type Material struct {
	ID        string // 64 hex digits
	State     MaterialState
	RotatedBy RotationType // empty for the first, and for one that was not current yet
	Rotated   time.Time    // when it became current; zero for the first, and for one that was not current yet

	// Of a key whose origin is External.
	Imported    bool      // it is here; otherwise it was deleted or has expired
	Expires     time.Time // zero: it does not
	Description string
}

// Rotation is how a key's material is rotated. The zero value: not at all.
type Rotation struct {
	PeriodDays int       // between automatic rotations; 0 if there are none
	Next       time.Time // when the next automatic one is due; zero if there are none
	OnDemand   int       // how many there were on demand
}

// MultiRegion is what the members of a set of related multi-Region keys know of
// each other. It stands in the record of every member, and one transaction
// changes them all.
type MultiRegion struct {
	Primary string   // Region of the primary key
	Regions []string // of all members, the primary among them, sorted
	Resume  State    // where a key that is Updating returns to; else empty
	Window  int      // days that a primary which is PendingReplicaDeletion waits after its last replica; else 0
}

// IsPrimary reports whether the key is the primary of related multi-Region keys.
func (m *Metadata) IsPrimary() bool { return m.MultiRegion != nil && m.MultiRegion.Primary == m.Region }

// IsReplica reports whether the key is a replica of a multi-Region key.
func (m *Metadata) IsReplica() bool { return m.MultiRegion != nil && m.MultiRegion.Primary != m.Region }

// AllMaterials returns all material of the key, the oldest first, also of a key
// that has only the one it was created with; none if none was ever imported.
// The caller must not change it.
func (m *Metadata) AllMaterials() []Material {
	if len(m.Materials) > 0 || m.MaterialID == "" {
		return m.Materials
	}
	return []Material{{ID: m.MaterialID, State: Current}}
}

// pending returns the material that the next rotation on demand makes the
// current one, of a key whose material is imported; false if there is none at an
// instant.
func (m *Metadata) pending(at time.Time) (Material, bool) {
	for _, mat := range m.Materials {
		if mat.State == PendingRotation && mat.Imported && (mat.Expires.IsZero() || mat.Expires.After(at)) {
			return mat, true
		}
	}
	return Material{}, false
}

// rotate makes the material with an id the current one, at an instant: the one
// that is pending rotation, or else a new one. The list of materials is another
// one then.
func (m *Metadata) rotate(id string, by RotationType, at time.Time) {
	list := slices.Clone(m.AllMaterials())
	for i := range list {
		if list[i].State == Current {
			list[i].State = NonCurrent
		}
	}
	i := slices.IndexFunc(list, func(mat Material) bool { return mat.ID == id })
	if i < 0 {
		i, list = len(list), append(list, Material{ID: id})
	}
	list[i].State, list[i].RotatedBy, list[i].Rotated = Current, by, at
	m.Materials, m.MaterialID = list, id
	switch by {
	case Automatic:
		m.Rotation.Next = rotationAfter(at, m.Rotation.PeriodDays)
	case OnDemand:
		m.Rotation.OnDemand++
	}
}

// rotationAfter returns when material is rotated next, if it was at an instant,
// or that is when it was said to be rotated.
func rotationAfter(at time.Time, days int) time.Time {
	return at.Add(time.Duration(days) * 24 * time.Hour)
}

// A due is something that is to be done to a key at a time. What is due is
// said by the key's record alone: a record of kind [record.KindDue] is only
// where it is found without looking at all keys.
type due struct {
	at  time.Time
	job string
}

// The jobs.
const (
	jobDelete = "delete" // the key, at the end of its waiting period
	jobRotate = "rotate" // automatically
	jobExpire = "expire" // imported material

	jobSynchronize = "synchronize" // a multi-Region key that is being made, or whose primary is
)

// is reports whether d and e are the same.
func (d due) is(e due) bool { return d.job == e.job && d.at.Equal(e.at) }

// jobs is what each job does in the name of, and under which permit; and what it
// does, given its due record.
var jobs = map[string]struct {
	purpose, action string
	do              func(Key, context.Context, record.Record) error
}{
	jobDelete: {"key deletion", actionDestroy, Key.destroy},
	jobRotate: {"key rotation", actionRotate, Key.rotateDue},
	jobExpire: {"material expiry", actionExpire, Key.expire},

	jobSynchronize: {"multi-Region keys", actionSynchronize, Key.synchronizeDue},
}

func isJob(name string) bool { return jobs[name].action != "" }

// dues returns what is due for a key some time.
func dues(m *Metadata) []due {
	var list []due
	switch m.State {
	case PendingDeletion, destroying:
		list = append(list, due{m.Deletion, jobDelete})
	case Creating, Updating:
		list = append(list, due{m.Created, jobSynchronize}) // that is: now
	case Enabled:
		// Not while it can't be done: then it is done at once when it can again.
		if m.Rotation.PeriodDays > 0 && !m.IsReplica() {
			list = append(list, due{m.Rotation.Next, jobRotate})
		}
	}
	if m.State == destroying {
		return list
	}
	for _, mat := range m.Materials {
		if mat.Imported && !mat.Expires.IsZero() {
			list = append(list, due{mat.Expires, jobExpire})
		}
	}
	slices.SortFunc(list, func(a, b due) int { return a.at.Compare(b.at) })
	return slices.CompactFunc(list, due.is) // materials that expire at one time
}
