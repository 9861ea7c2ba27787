package busconfig

// What a configuration may have at most. Real ones are far below: the whole of a desktop system is
// some hundred files with a few thousand rules.
const (
	// MaxFileSize is the size in bytes of one configuration file. dbus-daemon takes 1 MiB.
	MaxFileSize = 16 << 20
	// MaxServiceFileSize is the size in bytes of one .service file, as in dbus-daemon.
	MaxServiceFileSize = 128 << 10
	// MaxIncludeDepth is how many files may be open at once because each includes the next.
	MaxIncludeDepth = 64
	// MaxFiles is how many files a configuration may consist of.
	MaxFiles = 20_000
	// MaxRules is how many rules a configuration may have.
	MaxRules = 500_000
	// MaxServices is how many .service files all directories together may have.
	MaxServices = 50_000
	// MaxDescriptors is the highest number that min_fds and max_fds may have.
	MaxDescriptors = 1 << 25

	// maxEntity is the length in bytes of what an entity stands for.
	maxEntity = 4 << 10
	// maxEntities is how many entities a DOCTYPE may declare.
	maxEntities = 256
	// maxViews is how many views a policy remembers.
	maxViews = 4096
)
