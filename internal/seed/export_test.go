package seed

// Expand is expand, for the test of its corners.
var Expand = expand
