// Package s3test is a small S3 server in memory, for tests: what a client needs
// to put objects into buckets, and `aws cloudtrail validate-logs` to read them.
//
// It verifies signatures and checksums, keeps metadata and locks, and answers
// as S3 does. Requests are addressed by path.
package s3test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// maxBody bounds an object, in bytes.
const maxBody = 64 << 20

// Server is an S3 server. It is an [http.Handler].
type Server struct {
	// AccessKeyID and Secret are the credentials that requests must be signed
	// with, for Region.
	AccessKeyID, Secret, Region string
	// Buckets are the buckets that there are. Locking are those with Object
	// Lock enabled.
	Buckets, Locking []string

	mu      sync.Mutex
	fault   func(w http.ResponseWriter, r *http.Request) bool // guarded by mu
	objects map[string]Object                                 // by bucket and name, with a slash between; guarded by mu
	puts    int                                               // guarded by mu
}

// Object is an object in a bucket.
type Object struct {
	Body        []byte
	ContentType string
	Metadata    map[string]string // names in lower case
	LockMode    string            // "GOVERNANCE" or "COMPLIANCE"; empty for none
	LockUntil   time.Time
	Versions    int // how often it was put
}

// Objects returns a copy of what is in a bucket, by name.
func (s *Server) Objects(bucket string) map[string]Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]Object)
	for path, o := range s.objects {
		if name, ok := strings.CutPrefix(path, bucket+"/"); ok {
			found[name] = o
		}
	}
	return found
}

// Put puts an object into a bucket, or in the place of one, as somebody would
// who tampers with it.
func (s *Server) Put(bucket, name string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = make(map[string]Object)
	}
	s.objects[bucket+"/"+name] = o
}

// Remove removes an object.
func (s *Server) Remove(bucket, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, bucket+"/"+name)
}

// SetFault gives the server something that may answer a request in its place,
// and returns whether it did; nil for nothing.
func (s *Server) SetFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Puts returns how many objects were put by requests.
func (s *Server) Puts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// Fail answers a request with an error of S3.
func Fail(w http.ResponseWriter, status int, code, message string) {
	type answer struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}
	write(w, status, answer{Code: code, Message: message})
}

func write(w http.ResponseWriter, status int, v any) {
	text, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), text...)) // the client may be gone
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		Fail(w, http.StatusBadRequest, "IncompleteBody", "The body could not be read.")
		return
	}
	if code := s.verify(r, body); code != "" {
		Fail(w, http.StatusForbidden, code, "The request is not signed as it should be.")
		return
	}
	bucket, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !slices.Contains(s.Buckets, bucket) {
		Fail(w, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	}
	switch {
	case r.Method == http.MethodPut && name != "":
		s.put(w, r, bucket, name, body)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && name != "":
		s.get(w, bucket, name)
	case r.Method == http.MethodGet && r.URL.Query().Has("location"):
		type answer struct {
			XMLName xml.Name `xml:"LocationConstraint"`
			Region  string   `xml:",chardata"`
		}
		location := s.Region
		if location == "us-east-1" {
			location = ""
		}
		write(w, http.StatusOK, answer{Region: location})
	case r.Method == http.MethodGet:
		s.list(w, r, bucket)
	default:
		Fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
}

// verify returns the code of the error that a request deserves.
func (s *Server) verify(r *http.Request, body []byte) string {
	a, err := sigv4.Parse(r)
	if err != nil {
		return "AccessDenied"
	}
	if a.AccessKeyID != s.AccessKeyID {
		return "InvalidAccessKeyId"
	}
	err = a.Check(time.Now(), sigv4.Scope{Service: "s3", Region: func(region string) bool { return region == s.Region }, Skew: 15 * time.Minute})
	if err == nil {
		err = sigv4.NewKey(secret.New([]byte(s.Secret))).Verify(&a, r, body)
	}
	switch {
	case errors.Is(err, sigv4.ErrSignature):
		return "SignatureDoesNotMatch"
	case err != nil:
		return "AuthorizationHeaderMalformed"
	}
	return ""
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, bucket, name string, body []byte) {
	if want := r.Header.Get("X-Amz-Checksum-Sha256"); want != "" {
		if sum := sha256.Sum256(body); base64.StdEncoding.EncodeToString(sum[:]) != want {
			Fail(w, http.StatusBadRequest, "BadDigest", "The SHA256 you specified did not match the calculated checksum.")
			return
		}
	}
	o := Object{Body: body, ContentType: r.Header.Get("Content-Type"), Metadata: make(map[string]string)}
	for header, values := range r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(header), "x-amz-meta-"); ok {
			o.Metadata[key] = values[0]
		}
	}
	if o.LockMode = r.Header.Get("X-Amz-Object-Lock-Mode"); o.LockMode != "" {
		if !slices.Contains(s.Locking, bucket) {
			Fail(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
			return
		}
		if r.Header.Get("X-Amz-Sdk-Checksum-Algorithm") == "" && r.Header.Get("Content-Md5") == "" {
			Fail(w, http.StatusBadRequest, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
			return
		}
		var err error
		if o.LockUntil, err = time.Parse(time.RFC3339, r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date")); err != nil {
			Fail(w, http.StatusBadRequest, "InvalidArgument", "The retain until date must be in the future!")
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = make(map[string]Object)
	}
	o.Versions = s.objects[bucket+"/"+name].Versions + 1
	s.objects[bucket+"/"+name] = o
	s.puts++
	w.Header().Set("ETag", etag(o))
	w.WriteHeader(http.StatusOK)
}

func etag(o Object) string {
	sum := sha256.Sum256(o.Body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func (s *Server) get(w http.ResponseWriter, bucket, name string) {
	s.mu.Lock()
	o, ok := s.objects[bucket+"/"+name]
	s.mu.Unlock()
	if !ok {
		Fail(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	for key, value := range o.Metadata {
		// In lower case, as S3 has it: clients keep the case of names.
		w.Header()["x-amz-meta-"+key] = []string{value}
	}
	w.Header().Set("Content-Type", o.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(o.Body)))
	w.Header().Set("ETag", etag(o))
	w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	_, _ = w.Write(o.Body) // the client may be gone
}

// pageSize is how many names are listed at once: few, so that clients have to
// ask again.
const pageSize = 10

// list answers ListObjects, the first version.
func (s *Server) list(w http.ResponseWriter, r *http.Request, bucket string) {
	type entry struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
		StorageClass string
	}
	type answer struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		Name        string
		Prefix      string
		Marker      string
		MaxKeys     int
		IsTruncated bool
		Contents    []entry
	}
	q := r.URL.Query()
	a := answer{Name: bucket, Prefix: q.Get("prefix"), Marker: q.Get("marker"), MaxKeys: pageSize}
	objects := s.Objects(bucket)
	var names []string
	for name := range objects {
		if strings.HasPrefix(name, a.Prefix) && name > a.Marker {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > pageSize {
		names, a.IsTruncated = names[:pageSize], true
	}
	for _, name := range names {
		a.Contents = append(a.Contents, entry{name, "1970-01-01T00:00:00.000Z", etag(objects[name]), len(objects[name].Body), "STANDARD"})
	}
	write(w, http.StatusOK, a)
}
