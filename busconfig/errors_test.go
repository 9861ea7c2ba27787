package busconfig

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// inConfig is a configuration with body, which begins on line 2.
func inConfig(body string) string {
	return "<busconfig><listen>unix:path=/a</listen>\n" + body + "</busconfig>"
}

func inPolicy(rules string) string {
	return inConfig(`<policy context="default">` + rules + `</policy>`)
}

func parseText(t testing.TB, text string) (*Config, error) {
	t.Helper()
	return testOptions(t.TempDir()).Parse(write(t, filepath.Join(t.TempDir(), "main.conf"), text))
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		line int
		want string // the beginning
	}{
		"empty file":               {"", 1, "there is no element"},
		"only a comment":           {"<!-- -->\n", 2, "there is no element"},
		"other root":               {"<config/>", 1, "<config>: is not <busconfig>"},
		"known element as root":    {"<listen>a</listen>", 1, "<listen>: is not <busconfig>"},
		"two roots":                {"<busconfig/>\n<busconfig/>", 2, "<busconfig>: follows the end of <busconfig>"},
		"text before the root":     {"a<busconfig/>", 1, "text stands outside"},
		"text after the root":      {"<busconfig/>\na", 1, "text stands outside"},
		"not closed":               {"<busconfig>\n<policy context='default'>\n", 2, "<policy>: is not closed before the file ends on line 3"},
		"wrong end":                {"<busconfig>\n</b>", 2, "<busconfig>: began on line 1, but </b> comes"},
		"end without beginning":    {"<busconfig/></busconfig>", 1, "<busconfig>: ends here without"},
		"attribute without quotes": {inConfig("<limit name=a>1</limit>"), 2, "<busconfig>: not well-formed XML: unquoted"},
		"attribute twice":          {inConfig("<limit name='a' name='b'>1</limit>"), 2, "<limit>: has the attribute name twice"},
		"unknown entity":           {inConfig("<type>&a;</type>"), 2, "<type>: not well-formed XML: invalid character entity &a;"},
		"control character":        {inConfig("<type>\x01</type>"), 2, "<type>: not well-formed XML: illegal character code U+0001"},
		"not UTF-8":                {inConfig("<type>\xe9</type>"), 2, "<type>: not well-formed XML: invalid UTF-8"},
		"declaration not first":    {"\n<?xml version='1.0'?><busconfig/>", 2, "the XML declaration is not at the very beginning"},
		"doctype twice":            {"<!DOCTYPE a><!DOCTYPE a><busconfig/>", 1, "<!DOCTYPE a...> is not allowed here"},
		"doctype inside":           {inConfig("<!DOCTYPE a>"), 2, "<!DOCTYPE a...> is not allowed here"},
		"element declaration":      {"<!ELEMENT a ANY><busconfig/>", 1, "<!ELEMENT a ANY...> is not allowed here"},
		"prefix":                   {inConfig("<x:fork/>"), 2, "<x:fork>: is unknown"},

		"attribute of busconfig":   {"<busconfig a='b'/>", 1, "<busconfig>: the attribute a is unknown"},
		"namespace":                {"<busconfig xmlns='urn:a'/>", 1, "<busconfig>: the attribute xmlns is unknown"},
		"attribute of type":        {inConfig("<type a='b'>a</type>"), 2, "<type>: the attribute a is unknown"},
		"attribute of fork":        {inConfig("<fork a='b'/>"), 2, "<fork>: the attribute a is unknown"},
		"attribute of rule":        {inPolicy("<allow log='true' a='b' own='a'/>"), 2, "<allow>: the attribute a is unknown; known are send_destination,"},
		"text in busconfig":        {inConfig("\n a b \n"), 3, `<busconfig>: takes no text, but has "a b"`},
		"text in policy":           {inPolicy("x"), 2, `<policy>: takes no text, but has "x"`},
		"text in allow":            {inPolicy("<allow own='a'>x</allow>"), 2, `<allow>: takes no text, but has "x"`},
		"text in flag":             {inConfig("<syslog>yes</syslog>"), 2, `<syslog>: takes no text, but has "yes"`},
		"no listen address":        {inConfig("<listen/>"), 2, "<listen>: is empty; write an address between the tags"},
		"no type":                  {inConfig("<type></type>"), 2, "<type>: is empty"},
		"no file to include":       {inConfig("<include ignore_missing='yes'/>"), 2, "<include>: is empty"},
		"no directory":             {inConfig("<servicedir/>"), 2, "<servicedir>: is empty"},
		"no number":                {inConfig("<limit name='max_containers'/>"), 2, "<limit>: is empty"},
		"element in text":          {inConfig("<type>a<fork/></type>"), 2, "<fork>: is not allowed inside <type>; it belongs into <busconfig>"},
		"allow outside of policy":  {inConfig("<allow own='a'/>"), 2, "<allow>: is not allowed inside <busconfig>; it belongs into <policy>"},
		"associate outside":        {inConfig("<associate own='a' context='a'/>"), 2, "<associate>: is not allowed inside <busconfig>"},
		"unknown in policy":        {inPolicy("<permit own='a'/>"), 2, "<permit>: is unknown; remove it, or use one of <allow>, <deny>"},
		"unknown in selinux":       {inConfig("<selinux><a/></selinux>"), 2, "<a>: is unknown; remove it, or use one of <associate>"},
		"associate without own":    {inConfig("<selinux><associate context='a'/></selinux>"), 2, "<associate>: needs the attributes own"},
		"include_missing":          {inConfig("<include ignore_missing='true'>a</include>"), 2, `<include>: ignore_missing is "true", but has to be "yes" or "no"`},
		"limit without name":       {inConfig("<limit>1</limit>"), 2, "<limit>: has no attribute name; the limits are max_incoming_bytes,"},
		"unknown limit":            {inConfig("<limit name='max'>1</limit>"), 2, `<limit>: there is no limit "max"`},
		"limit of spaces":          {inConfig("<limit name='max_containers'> </limit>"), 2, `<limit>: the value " " of max_containers is not a number`},
		"limit beyond 64 bits":     {inConfig("<limit name='max_incoming_bytes'>9223372036854775808</limit>"), 2, "<limit>: the value"},
		"mode of apparmor":         {inConfig("<apparmor mode='on'/>"), 2, `<apparmor>: mode is "on"`},
		"policy of two":            {inConfig("<policy user='joe' group='audio'/>"), 2, "<policy>: needs exactly one"},
		"policy of nobody":         {inConfig("<policy/>"), 2, "<policy>: needs exactly one"},
		"unknown context":          {inConfig("<policy context='console'/>"), 2, `<policy>: context is "console", but has to be "mandatory" or "default"`},
		"unknown at_console":       {inConfig("<policy at_console='yes'/>"), 2, `<policy>: at_console is "yes"`},
		"user in policy of user":   {inConfig("<policy user='joe'><allow user='joe'/></policy>"), 2, `<allow>: user and group decide who may connect at all and are not allowed in <policy user="joe">`},
		"group in policy of group": {inConfig("<policy group='audio'><deny group='*'/></policy>"), 2, "<deny>: user and group decide"},

		"nothing":                    {inPolicy("<allow/>"), 2, "<allow>: has no attribute that says what is meant"},
		"log alone":                  {inPolicy("<allow log='true'/>"), 2, "<allow>: has no attribute that says what is meant"},
		"min_fds alone":              {inPolicy("<deny min_fds='1'/>"), 2, "<deny>: has no attribute that says what is meant"},
		"own and user":               {inPolicy("<allow own='a' user='joe'/>"), 2, "<allow>: own, own_prefix, user, group and"},
		"own and own_prefix":         {inPolicy("<allow own='a' own_prefix='a'/>"), 2, "<allow>: own, own_prefix, user, group and"},
		"own and eavesdrop":          {inPolicy("<allow own='a' eavesdrop='true'/>"), 2, "<allow>: own, own_prefix, user, group and"},
		"own and max_fds":            {inPolicy("<allow own='a' max_fds='1'/>"), 2, "<allow>: own, own_prefix, user, group and"},
		"user and send":              {inPolicy("<allow user='joe' send_type='signal'/>"), 2, "<allow>: own, own_prefix, user, group and"},
		"send and receive":           {inPolicy("<allow send_type='signal' receive_type='signal'/>"), 2, "<allow>: send_ and receive_ attributes exclude each other"},
		"send_member alone":          {inPolicy("<allow send_member='A' send_destination='a.b'/>"), 2, "<allow>: has send_member alone"},
		"receive_member alone":       {inPolicy("<allow receive_member='A'/>"), 2, "<allow>: has receive_member alone"},
		"send_error and interface":   {inPolicy("<allow send_error='a' send_interface='a'/>"), 2, "<allow>: send_error excludes"},
		"receive_error and member":   {inPolicy("<allow receive_error='a' receive_member='a' receive_path='/'/>"), 2, "<allow>: receive_error excludes"},
		"destination and prefix":     {inPolicy("<allow send_destination='*' send_destination_prefix='a'/>"), 2, "<allow>: send_destination and send_destination_prefix exclude"},
		"broadcast to somebody":      {inPolicy("<allow send_broadcast='true' send_destination='a.b'/>"), 2, "<allow>: matches nothing, for broadcasts"},
		"unknown send_broadcast":     {inPolicy("<allow send_broadcast='*'/>"), 2, `<allow>: send_broadcast is "*"`},
		"unknown send_type":          {inPolicy("<allow send_type='call'/>"), 2, `<allow>: send_type is "call"`},
		"unknown receive_type":       {inPolicy("<allow receive_type='invalid'/>"), 2, `<allow>: receive_type is "invalid"`},
		"unknown eavesdrop":          {inPolicy("<allow eavesdrop='yes'/>"), 2, `<allow>: eavesdrop is "yes", but has to be "true" or "false"`},
		"unknown requested_reply":    {inPolicy("<allow send_requested_reply='no'/>"), 2, `<allow>: send_requested_reply is "no"`},
		"negative min_fds":           {inPolicy("<allow send_type='*' min_fds='-1'/>"), 2, `<allow>: min_fds is "-1", but has to be a number from 0 to`},
		"too many max_fds":           {inPolicy("<allow receive_type='*' max_fds='33554433'/>"), 2, `<allow>: max_fds is "33554433"`},
		"min_fds that is no number":  {inPolicy("<allow receive_type='*' min_fds='x'/>"), 2, `<allow>: min_fds is "x"`},
		"rule of somebody not there": {inConfig("<policy user='ghost'><allow send_type='x'/></policy>"), 2, `<allow>: send_type is "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseText(t, test.text)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("the error is %v", err)
			}
			_, said, _ := strings.Cut(err.Error(), "main.conf:")
			_, said, _ = strings.Cut(said, ": ")
			if e.Line != test.line || !strings.HasPrefix(said, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBoundsAreKept(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	parse := func(text string) error {
		_, err := o.Parse(write(t, dir+"/main.conf", text))
		return err
	}
	chain := inConfig("<include>00.conf</include>")
	for i := range MaxIncludeDepth + 1 {
		write(t, filepath.Join(dir, itoa(i)+".conf"), "<busconfig><includedir>"+itoa(i)+".d</includedir></busconfig>")
		write(t, filepath.Join(dir, itoa(i)+".d", "next.conf"), "<busconfig><include>../"+itoa(i+1)+".conf</include></busconfig>")
	}
	laughs := "<!DOCTYPE a [<!ENTITY a00 'ha'>"
	for i := range 30 {
		laughs += "<!ENTITY a" + itoa(i+1) + ` "` + strings.Repeat("&a"+itoa(i)+";", 20) + `">`
	}
	for name, test := range map[string]struct{ text, want string }{
		"depth":              {chain, "more than 64 files include each other"},
		"size":               {inConfig(strings.Repeat(" ", MaxFileSize)), "longer than 16777216 bytes"},
		"entity in entities": {laughs + "]>" + inConfig("&a30;"), "is longer than 4096 bytes"},
		"itself":             {"<!DOCTYPE a [<!ENTITY a '&b;'><!ENTITY b '&a;'>]>" + inConfig("&a;"), "stands for itself"},
		"markup":             {"<!DOCTYPE a [<!ENTITY a '<fork/>'>]>" + inConfig("&a;"), "stands for markup"},
		"hidden markup":      {"<!DOCTYPE a [<!ENTITY a '&#60;fork/>'>]>" + inConfig("&a;"), "would be markup"},
		"many references": {
			"<!DOCTYPE a [<!ENTITY a '" + strings.Repeat("x", maxEntity) + "'>]>" + inConfig("<type>"+strings.Repeat("&a;", 5000)+"</type>"),
			"would make the text longer",
		},
		"parameter entity":  {"<!DOCTYPE a [<!ENTITY % a 'b'> %a;]>" + inConfig(""), "parameter entities are not supported"},
		"default attribute": {"<!DOCTYPE a [<!ATTLIST policy context CDATA 'default'>]>" + inConfig(""), "ATTLIST is not supported"},
		"not declared":      {"<!DOCTYPE a [<!ENTITY a '&b;'>]>" + inConfig(""), `"b" is not declared`},
	} {
		if err := parse(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }

func TestCharacterSets(t *testing.T) {
	const text = "<?xml version='1.0' encoding='%'?>\n" + "<busconfig><listen>unix:path=/a</listen><type>\u00e9t\u00e9</type></busconfig>"
	say := func(encoding string) string { return strings.Replace(text, "%", encoding, 1) }
	wide := func(s, mark string, high int) string {
		b := []byte(mark)
		for _, r := range s {
			pair := []byte{byte(r), byte(r)}
			pair[high] = byte(r >> 8)
			b = append(b, pair...)
		}
		return string(b)
	}
	for name, text := range map[string]string{
		"UTF-8":                         say("utf-8"),
		"UTF-8 with mark":               "\xef\xbb\xbf" + say("UTF-8"),
		"UTF-8, said to be another":     say("iso-8859-1"),
		"UTF-8, said to be UTF-16":      say("utf-16"),
		"UTF-16, big end":               wide(say("UTF-16"), "\xfe\xff", 0),
		"UTF-16, little end":            wide(say("utf-16"), "\xff\xfe", 1),
		"UTF-16, little end, no mark":   wide(say("utf-16"), "", 1),
		"UTF-16, big end, not declared": wide(inConfig("<type>\u00e9t\u00e9</type>"), "\xfe\xff", 0),
	} {
		c, err := parseText(t, text)
		if err != nil || c.Type != "\u00e9t\u00e9" {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for name, text := range map[string]string{
		"ISO-8859-1": strings.ReplaceAll(say("iso-8859-1"), "\u00e9", "\xe9"), "half a character": "\xff\xfe<",
	} {
		if _, err := parseText(t, text); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
