using System.Text;
using System.Text.RegularExpressions;
using Broker.AppHost.Resources;

namespace Broker.AppHost.Publishing;

/// <summary>
/// .env beside compose.yaml: secrets for the user to fill in, and what else can be chosen. What stands in an older one
/// stays as it is; only what is new is added.
/// </summary>
internal static class ComposeSettings
{
    private static readonly (string Variable, string Default, string Meaning)[] Choices =
    [
        ("REGISTRY", "", "where our images come from, with a slash at its end; empty: this machine has them"),
        ("IMAGE_TAG", "latest", "which of them"),
        ("PULL_POLICY", "never", "missing or always, when they are in a registry"),
        ("HOST_ADDRESS", "127.0.0.1", "the address of this machine at which the ports below are open; whoever "
            + "reaches it can read and publish everything"),
    ];

    /// <summary>PUBLISHER_HTTP_PORT.</summary>
    public static string PortVariable(IResource resource, HostPortAnnotation host) =>
        ComposeValues.VariableOf($"{resource.Name}-{host.Endpoint}-port");

    public static void Write(string path, IReadOnlyCollection<string> secrets, IEnumerable<IResource> resources)
    {
        var text = new StringBuilder(File.Exists(path) ? File.ReadAllText(path) : Heading(secrets));
        if (text.Length > 0 && text[^1] != '\n')
        {
            text.Append('\n');
        }

        foreach (var secret in secrets)
        {
            Add(secret, $"{secret}=\n");
        }

        foreach (var (variable, value, meaning) in Choices)
        {
            Add(variable, $"\n# {meaning}\n# {variable}={value}\n");
        }

        foreach (var resource in resources)
        {
            foreach (var host in resource.Annotations.OfType<HostPortAnnotation>())
            {
                Add(PortVariable(resource, host), $"# {PortVariable(resource, host)}={host.Port}\n");
            }
        }

        Secrets.WriteFile(path, text.ToString());

        void Add(string variable, string lines)
        {
            if (!Regex.IsMatch(text.ToString(), $"^[# ]*{variable}=", RegexOptions.Multiline))
            {
                text.Append(lines);
            }
        }
    }

    private static string Heading(IEnumerable<string> secrets) =>
        $"""
        # `docker compose` reads this file beside compose.yaml. Keep it to yourself.
        #
        # Secrets are letters and digits only, because they become parts of addresses. To draw those that are empty:
        #   for name in {string.Join(' ', secrets)}; do sed -i "s/^$name=$/&$(openssl rand -hex 24)/" .env; done

        """;
}
