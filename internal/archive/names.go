package archive

import (
	"strings"
	"time"
)

// Scope is whose files they are, and under what prefix they lie in a bucket.
// It makes the names that CloudTrail gives to the objects of a trail.
//
// Source: CloudTrail User Guide, "CloudTrail log file examples" (log file name
// format) and "CloudTrail digest file structure".
type Scope struct {
	// Prefix is what the names begin with, without the slash; may be empty.
	Prefix string
	// Organization is the organization's id for the trail of an organization;
	// else empty.
	Organization string
	Account      string // 12 digits
	Region       string // such as eu-central-1
}

// Folders of the layout.
const (
	folderRoot    = "AWSLogs"
	folderLogs    = "CloudTrail"
	folderDigests = "CloudTrail-Digest"
)

const (
	logStamp    = "20060102T1504Z"
	digestStamp = "20060102T150405Z"
	dayFolders  = "2006/01/02"
	fileSuffix  = ".json.gz"
)

// folder returns the folder of a kind of files, with a slash at its end.
func (s Scope) folder(kind string) string {
	var b strings.Builder
	if s.Prefix != "" {
		b.WriteString(s.Prefix)
		b.WriteByte('/')
	}
	b.WriteString(folderRoot)
	b.WriteByte('/')
	if s.Organization != "" {
		b.WriteString(s.Organization)
		b.WriteByte('/')
	}
	b.WriteString(s.Account)
	b.WriteByte('/')
	b.WriteString(kind)
	b.WriteByte('/')
	b.WriteString(s.Region)
	b.WriteByte('/')
	return b.String()
}

// LogObject returns the name of a log file, t being its minute and id 16
// letters and digits that no other file of that minute has:
//
//	AWSLogs/<account>/CloudTrail/<region>/2026/11/22/<account>_CloudTrail_<region>_20261122T0315Z_<id>.json.gz
func (s Scope) LogObject(t time.Time, id string) string {
	t = t.UTC()
	return s.folder(folderLogs) + t.Format(dayFolders) + "/" +
		s.Account + "_" + folderLogs + "_" + s.Region + "_" + t.Format(logStamp) + "_" + id + fileSuffix
}

// DigestObject returns the name of a digest file of a trail, whose home Region
// is home and which ends at end:
//
//	AWSLogs/<account>/CloudTrail-Digest/<region>/2026/11/22/<account>_CloudTrail-Digest_<region>_<trail>_<home>_20261122T040000Z.json.gz
func (s Scope) DigestObject(trail, home string, end time.Time) string {
	end = end.UTC()
	return s.folder(folderDigests) + end.Format(dayFolders) + "/" +
		s.Account + "_" + folderDigests + "_" + s.Region + "_" + trail + "_" + home + "_" + end.Format(digestStamp) + fileSuffix
}

// objectName is what the name of an object says.
type objectName struct {
	scope  Scope
	digest bool
	time   time.Time // its minute, or the end of a digest
	id     string    // of a log file
	trail  string    // of a digest
	home   string    // of a digest
}

// parseObject undoes LogObject and DigestObject; false for every other name.
func parseObject(object string) (objectName, bool) {
	parts := strings.Split(object, "/")
	at := len(parts) - 8 // of AWSLogs, without an organization
	if at < 0 {
		return objectName{}, false
	}
	var n objectName
	if parts[at] != folderRoot {
		if at--; at < 0 || parts[at] != folderRoot {
			return objectName{}, false
		}
		n.scope.Organization = parts[at+1]
	}
	n.scope.Prefix = strings.Join(parts[:at], "/")
	parts = parts[len(parts)-7:]
	n.scope.Account, n.scope.Region = parts[0], parts[2]
	stem, ok := strings.CutSuffix(parts[6], fileSuffix)
	if !ok {
		return objectName{}, false
	}
	stem, ok = strings.CutPrefix(stem, n.scope.Account+"_"+parts[1]+"_"+n.scope.Region+"_")
	if !ok {
		return objectName{}, false
	}
	var err error
	switch parts[1] {
	case folderLogs:
		var stamp string
		stamp, n.id, _ = strings.Cut(stem, "_")
		if n.time, err = time.Parse(logStamp, stamp); err != nil || n.scope.LogObject(n.time, n.id) != object {
			return objectName{}, false
		}
	case folderDigests:
		n.digest = true
		i := strings.LastIndexByte(stem, '_')
		if i < 0 {
			return objectName{}, false
		}
		j := strings.LastIndexByte(stem[:i], '_')
		if j < 0 {
			return objectName{}, false
		}
		n.trail, n.home = stem[:j], stem[j+1:i]
		if n.time, err = time.Parse(digestStamp, stem[i+1:]); err != nil || n.scope.DigestObject(n.trail, n.home, n.time) != object {
			return objectName{}, false
		}
	default:
		return objectName{}, false
	}
	return n, true
}
