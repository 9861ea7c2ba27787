package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the script that makes a shell complete",
		Long: `Prints the script that makes a shell complete the command line of kdbus at Tab: commands,
flags, and what is on the bus right now: services, their objects, the interfaces of those,
methods and properties. ` + "`make install`" + ` puts the scripts where shells look for them.`,
		Example: `  source <(kdbus completion bash)       # in ~/.bashrc
  source <(kdbus completion zsh)        # in ~/.zshrc, behind compinit
  kdbus completion fish | source        # in ~/.config/fish/config.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      operands,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				if _, err := fmt.Fprint(out, bashWords); err != nil {
					return err
				}
				return cmd.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(out)
			case "fish":
				return cmd.Root().GenFishCompletion(out, true)
			}
			return &exitError{exitUsage, fmt.Errorf("there is no completion for %q; there is for bash, zsh and fish", args[0])}
		},
	}
}

// bashWords are the two functions of bash-completion that the script for bash needs, for where that is not
// installed: to split a line at blanks only, and to leave out of what is completed what bash has split
// off before a colon.
const bashWords = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
_get_comp_words_by_ref()
{
    local typed=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    prev=${words[cword - 1]}
}
fi
if ! declare -F __ltrim_colon_completions >/dev/null; then
__ltrim_colon_completions()
{
    [[ $1 == *:* && $COMP_WORDBREAKS == *:* ]] || return 0
    local i done=${1%"${1##*:}"}
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=${COMPREPLY[i]#"$done"}
    done
}
fi

`

// arrangeCompleted is arrange for a command line that ends with a word to complete, behind the name of
// the hidden command that shells ask.
func arrangeCompleted(root *cobra.Command, args []string) []string {
	if len(args) < 3 || !strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args
	}
	last := len(args) - 1
	before := args[1:last:last]
	list, _, err := root.Find([]string{"list"})
	if err != nil {
		return args
	}
	hasVerb := false
	for i, operand := range operandsIn(list, before) {
		hasVerb = hasVerb || operand && before[i] != "--"
	}
	if !hasVerb && knowsFlag(list, before[0]) && !takesValue(list, before[len(before)-1]) && !strings.HasPrefix(args[last], "-") {
		before = nil // it is the name of a command that is completed
	} else if hasVerb {
		before = arrange(root, before)
	}
	return append(append(args[:1:1], before...), args[last])
}
