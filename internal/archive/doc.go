// Package archive keeps audit records in CloudTrail's files: log files by
// account and Region, and digest files that list them, signed and chained by
// hash.
//
// Below [Options.Dir] it has
//
//	AWSLogs/<account>/CloudTrail/<region>/2026/11/22/….json.gz             log files
//	AWSLogs/<account>/CloudTrail-Digest/<region>/2026/11/22/….json.gz      digests
//	AWSLogs/<account>/CloudTrail-Digest/<region>/2026/11/22/….json.gz.sig  their signatures, in hex
//	tmp/      what is being written
//	damaged/  segments of the journal that were not as they should be
//
// # What happens in which order
//
// [Archive.Deliver] takes the closed segments of the journal, the oldest first.
// It writes the log files of a segment, whose names come from what is in them,
// then the run of the index, which makes all of them count in one instant, then
// the sealed head; and then the segment is removed. What is interrupted is
// done again, and makes the same files.
//
// Once an hour it makes the digests: a signature and its digest for each
// account and Region, then the sealed heads of their chains. Those of a round
// that was interrupted are removed when the archive is opened.
//
// # What is protected by what
//
// The journal protects records by its tags until they are delivered. From then
// on a hash in the sealed head covers the files, as the index tells of them,
// until a digest lists them; and then its signature does, and the digests after
// it. [Verify] holds all of that against the files.
package archive
