package main

import (
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
)

// json is the answer for programs.
func (a *policyAnswer) json() jsontext.Object {
	o := jsontext.Object{{Key: "allowed", Value: judgement.Allowed(a.judgements)}, {Key: "config", Value: a.config.File}}
	var all []any
	for _, j := range a.judgements {
		one := jsontext.Object{
			{Key: "kind", Value: j.Kind.String()}, {Key: "uid", Value: j.Peer.UID}, {Key: "allowed", Value: j.Verdict.Allowed},
			{Key: "rule", Value: ruleJSON(j.Verdict.Rule)},
		}
		if !a.brief {
			var exceptions []any
			for _, e := range j.Exceptions {
				var fields jsontext.Object
				for _, f := range e.Fields {
					fields = append(fields, jsontext.Member{Key: f.Name, Value: f.Value})
				}
				exceptions = append(exceptions, jsontext.Object{{Key: "fields", Value: fields}, {Key: "allowed", Value: e.Rule.Allow}, {Key: "rule", Value: ruleJSON(e.Rule)}})
			}
			one = append(one, jsontext.Member{Key: "matched", Value: rulesJSON(j.Matched)}, jsontext.Member{Key: "void", Value: rulesJSON(j.Void)},
				jsontext.Member{Key: "voidBy", Value: ruleJSON(j.By)}, jsontext.Member{Key: "exceptions", Value: exceptions})
		}
		all = append(all, one)
	}
	o = append(o, jsontext.Member{Key: "judgements", Value: all})
	if !a.brief {
		o = append(o, jsontext.Member{Key: "notes", Value: texts(a.notes)})
		warnings := make([]string, len(a.config.Warnings))
		for i, w := range a.config.Warnings {
			warnings[i] = w.String()
		}
		o = append(o, jsontext.Member{Key: "warnings", Value: texts(warnings)})
	}
	return o
}

func texts(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}

func rulesJSON(rules []*busconfig.Rule) []any {
	all := make([]any, len(rules))
	for i, r := range rules {
		all[i] = ruleJSON(r)
	}
	return all
}

func ruleJSON(r *busconfig.Rule) any {
	if r == nil {
		return nil
	}
	return jsontext.Object{{Key: "file", Value: r.File}, {Key: "line", Value: r.Line}, {Key: "allow", Value: r.Allow},
		{Key: "rule", Value: r.String()}, {Key: "policy", Value: r.Context.String()}}
}
