//go:build conformance

package driver

import "regexp"

var rx = regexp.MustCompile

// deviations lists all differences that are on purpose.
var deviations = []deviation{
	// Texts that are for humans. Names of errors are the same.
	{
		reason: "an error about a match rule says which key is wrong, and why",
		theirs: rx(`(name=org\.freedesktop\.DBus\.Error\.MatchRuleInvalid .*signature=s) ".*"$`),
		ours:   rx(`(name=org\.freedesktop\.DBus\.Error\.MatchRuleInvalid .*signature=s) "invalid match rule: .*"$`),
		common: "$1",
	},
	{
		reason: "an error about an answer that nobody waits for says so; dbus-daemon counts rules of its configuration",
		theirs: rx(`(name=org\.freedesktop\.DBus\.Error\.AccessDenied .*signature=s "Rejected send message), 2 matched rules; (type=\\"(?:method_return|error)\\", sender=\\"<.>\\").*"$`),
		ours:   rx(`(name=org\.freedesktop\.DBus\.Error\.AccessDenied .*signature=s "Rejected send message), 0 matched rules; (type=\\"(?:method_return|error)\\", sender=\\"<.>\\").*(?: does not wait for |the bus does not call its peers).*"$`),
		common: "$1 $2",
	},
	{
		reason: "a text of dbus-daemon lacks a blank",
		theirs: rx(`(Unix file descriptors)(to a client)`),
		ours:   rx(`(Unix file descriptors) (to a client)`),
		common: "$1 $2",
	},

	{
		scenario: rx(`^as many .* as there may be$`),
		reason:   "an error about a limit may say more",
		theirs:   rx(`(name=org\.freedesktop\.DBus\.Error\.LimitsExceeded .*)"(The maximum number of pending replies per connection has been reached)"$`),
		ours:     rx(`(name=org\.freedesktop\.DBus\.Error\.LimitsExceeded .*)"(The maximum number of pending replies per connection has been reached) \(.*\)"$`),
		common:   "$1 $2",
	},

	{
		scenario: rx(`^as many .* as there may be$`),
		reason:   "an error about a limit says who is up to it",
		theirs:   rx(`(name=org\.freedesktop\.DBus\.Error\.LimitsExceeded .*is not allowed to .*max_\w+=<most>\))"$`),
		ours:     rx(`(name=org\.freedesktop\.DBus\.Error\.LimitsExceeded .*is not allowed to .*max_\w+=<most>\)): user \d+ has \d+"$`),
		common:   "$1",
	},

	// Before Hello.
	{
		scenario: rx(`^before Hello: `),
		reason:   "errors before Hello have no destination: the client has no name, and :not.active.yet is none",
		theirs:   rx(`^(b < error .*) to=:not\.active\.yet`),
		ours:     rx(`^(b < error .*? answers=1)( from=)`),
		common:   "$1$2",
	},
	{
		scenario: rx(`^before Hello: no destination$`),
		reason:   "only Hello is answered before Hello; that dbus-daemon answers Peer is libdbus's doing",
		theirs:   rx(`^b < reply flags=1 answers=1$`),
		ours:     rx(`^b is disconnected$`),
		common:   "b is not served",
	},

	// Calls without a destination are for the other end of the connection, which here is the bus.
	{
		scenario: rx(`^messages without a destination$`),
		reason:   "a reply of the bus names its sender and its destination",
		theirs:   rx(`^(a < (?:reply|error) .*?answers=(?:[2-9]|10))(.*)$`),
		ours:     rx(`^(a < (?:reply|error) .*?answers=(?:[2-9]|10)) to=<a> from=org\.freedesktop\.DBus(.*)$`),
		common:   "$1$2",
	},
	{
		scenario: rx(`^messages without a destination$`),
		reason:   "a call that expects no reply gets none",
		theirs:   rx(`^a < reply flags=1 answers=6$`),
	},
	{
		scenario: rx(`^messages without a destination$`),
		reason:   "the text of an unknown method of Peer is the same with and without a destination",
		theirs:   rx(`^(a < error .*UnknownMethod answers=8 signature=s) "Unknown method invoked on org\.freedesktop\.DBus\.Peer interface"$`),
		ours:     rx(`^(a < error .*UnknownMethod answers=8 signature=s) "org\.freedesktop\.DBus does not understand message NoSuchMethod"$`),
		common:   "$1",
	},
	{
		scenario: rx(`^messages without a destination$`),
		reason:   "the end of a connection has no objects; dbus-daemon describes an empty one",
		theirs:   rx(`^a < reply flags=1 answers=9 .*$`),
		ours:     rx(`^a < error flags=1 name=org\.freedesktop\.DBus\.Error\.UnknownMethod answers=9 .*$`),
		common:   "no description",
	},

	// File descriptors.
	{
		scenario: rx(`^file descriptors`),
		reason:   "that there are no file descriptors is not said in the header",
		theirs:   rx(`^(b < call .*) fds=0$`),
		ours:     rx(`^(b < call path=/ interface=com\.example\.I member=M to=<b> from=<a>)$`),
		common:   "$1",
	},
	{
		scenario: rx(`^more file descriptors than announced$`),
		reason:   "file descriptors that no message announces end the connection at once; dbus-daemon waits for a message until a timeout",
		ours:     rx(`^a is disconnected$`),
	},

	// Calls of the bus.
	{
		scenario: rx(`^org\.freedesktop\.DBus\.ReloadConfig$`),
		reason:   "a call that expects no reply gets none",
		theirs:   rx(`^a < reply flags=1 answers=23 `),
	},
	{
		scenario: rx(`^org\.freedesktop\.DBus\.Debug\.Stats\.GetStats$`),
		reason:   "there are no memory pools to count, and other things are counted",
		theirs:   rx(`(IncompleteConnections: u, )ListMemPoolAllocatedBytes: u, ListMemPoolCachedBytes: u, ListMemPoolUsedBytes: u, (MatchRules: u, )(.*)\}$`),
		ours:     rx(`Endpoints: a\{sa\{st\}\}, (IncompleteConnections: u, )Limits: a\{sx\}, LimitsReached: a\{sa\{sv\}\}, (MatchRules: u, )Monitors: u, PeakActiveConnections: u, (.*), Users: a\{ua\{st\}\}\}$`),
		common:   "$1$2$3}",
	},
	{
		scenario: rx(`^GetConnectionStats of all kinds of names$`),
		reason:   "more is counted",
		ours:     rx(`(BusNames: u, )DroppedBroadcasts: t, (.*)PendingReplies: u, SentBytes: t, SentFDs: t, SentMessages: t, `),
		common:   "$1$2",
	},
	{
		scenario: rx(`^GetConnectionStats of all kinds of names$`),
		reason:   "limits are told, and who fills the queue",
		ours:     rx(`(MatchRules: u, )(?:Max\w+: t, )+(Outgoing.*)OutgoingPerEndpoint: a\{sa\{st\}\}, OutgoingPerUser: a\{ua\{st\}\}, `),
		common:   "$1$2",
	},
	{
		scenario: rx(`^StartServiceByName$`),
		reason:   "a name that has an owner is running already, as the specification says, even if nothing could start it",
		theirs:   rx(`^a < error flags=1 name=org\.freedesktop\.DBus\.Error\.ServiceUnknown (answers=(?:29|30|37|39)) .*$`),
		ours:     rx(`^a < reply flags=1 (answers=(?:29|30|37|39)) .* 2$`),
		common:   "$1",
	},
	{
		scenario: rx(`^GetConnectionCredentials of all kinds of names$`),
		reason:   "credentials have the process's pidfd, which dbus-daemon has since 1.15.8",
		theirs:   rx(`(signature=a\{sv\}) (\{"ProcessID": <u \d+>.*\})$`),
		ours:     rx(`(signature=a\{sv\}) fds=1 (\{)"ProcessFD": <h 0>, ("ProcessID": <u \d+>.*\})$`),
		common:   "$1 $2$3",
	},

	// Match rules.
	{
		scenario: rx(`^odd rules`),
		reason:   "a key without a name is no key",
		theirs:   rx(`^a < .* (answers=(?:11|12|13|116|117|118)) .*$`),
		ours:     rx(`^a < error flags=1 name=org\.freedesktop\.DBus\.Error\.MatchRuleInvalid (answers=(?:11|12|13|116|117|118)) .*$`),
		common:   "$1",
	},
	{
		scenario: rx(`^odd rules`),
		reason:   "the number of an argument is written in digits, without a sign",
		theirs:   rx(`^a < .* (answers=(?:251|252|253)) .*$`),
		ours:     rx(`^a < error flags=1 name=org\.freedesktop\.DBus\.Error\.MatchRuleInvalid (answers=(?:251|252|253)) .*$`),
		common:   "$1",
	},
	{
		scenario: rx(`^(odd rules|eavesdropping on (calls|everything)$)`),
		reason:   "whether a call of the bus is overheard is decided before the call is handled, not after it",
		theirs:   rx(`^\w+ < call .*member=AddMatch to=org\.freedesktop\.DBus`),
		ours:     rx(`^a < call .*member=RemoveMatch to=org\.freedesktop\.DBus`),
	},
	{
		scenario: rx(`^eavesdropping on everything$`),
		reason:   "a call of the bus is overheard before what it causes, not after it",
		theirs:   rx(`^eve < (call .*member=RequestName|signal .*member=NameOwnerChanged) .*com\.example\.Other`),
		ours:     rx(`^eve < (call .*member=RequestName|signal .*member=NameOwnerChanged) .*com\.example\.Other`),
		anyOrder: true,
	},

	// Monitors.
	{
		scenario: rx(`^a monitor does not eavesdrop on others' behalf$`),
		reason:   "a client's match rules are gone before its names are when it becomes a monitor",
		theirs:   rx(`^m < signal .*member=NameOwnerChanged .*"<m>" "<m>" ""$`),
	},
	{
		scenario: rx(`^becoming a monitor gives up names$`),
		reason:   "in which order a client's names are lost is unspecified",
		theirs:   rx(`^[am] < signal .*member=Name`),
		ours:     rx(`^[am] < signal .*member=Name`),
		anyOrder: true,
	},
}
