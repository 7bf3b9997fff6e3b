package seal

// For the fuzz targets.
var (
	ParseKeyFile          = parseKeyFile
	ParsePassphraseParams = parsePassphraseParams
)
