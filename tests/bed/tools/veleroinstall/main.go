// SPDX-License-Identifier: GPL-3.0-or-later

// velero with no command but `velero install`, from the released source: what is compared is which objects it makes.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vmware-tanzu/velero/pkg/client"
	"github.com/vmware-tanzu/velero/pkg/cmd/cli/install"
)

func main() {
	config, err := client.LoadConfig()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	factory := client.NewFactory("velero", config)
	root := &cobra.Command{Use: "velero", SilenceUsage: true}
	factory.BindFlags(root.PersistentFlags())
	root.AddCommand(install.NewCommand(factory))
	if root.Execute() != nil {
		os.Exit(1)
	}
}
