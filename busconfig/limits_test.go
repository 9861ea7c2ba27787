package busconfig

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The defaults are those of dbus-daemon 1.14 and 1.16, in its units: bytes, milliseconds, and -1 for no limit.
func TestDefaultLimitsAreThoseOfDBusDaemon(t *testing.T) {
	want := map[string]int64{
		"max_incoming_bytes": 133169152, "max_incoming_unix_fds": 64,
		"max_outgoing_bytes": 133169152, "max_outgoing_unix_fds": 64,
		"max_message_size": 33554432, "max_message_unix_fds": 16,
		"max_completed_connections": 2048, "max_incomplete_connections": 64, "max_connections_per_user": 256,
		"max_pending_service_starts": 512, "max_names_per_connection": 512,
		"max_match_rules_per_connection": 512, "max_replies_per_connection": 128,
		"max_containers": 512, "max_containers_per_user": 16,
		"max_container_metadata_bytes": 4096, "max_connections_per_container": 8,
		"service_start_timeout": 25000, "auth_timeout": 30000, "pending_fd_timeout": 150000, "reply_timeout": -1,
	}
	got := make(map[string]int64)
	limits := DefaultLimits()
	for name, value := range limits.All() {
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
