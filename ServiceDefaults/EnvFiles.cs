using DotNetEnv;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.EnvironmentVariables;
using Microsoft.Extensions.Configuration.Memory;

namespace Broker.ServiceDefaults;

/// <summary>
/// Settings from the nearest .env file, looked for in the content root and its parents. They stand above
/// appsettings.json and below the environment and the command line. Absent file: nothing happens.
/// </summary>
internal static class EnvFiles
{
    private static readonly string[] HostPrefixes = ["ASPNETCORE_", "DOTNET_"];

    // DotNetEnv keeps the environment that it expands ${...} against in a static field.
    private static readonly Lock Parser = new();

    public static void AddTo(IConfigurationManager configuration, string contentRoot)
    {
        var path = Find(contentRoot);
        if (path is null)
        {
            return;
        }

        var settings = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach (var (name, value) in Parse(path))
        {
            if (Environment.GetEnvironmentVariable(name) is not null)
            {
                continue;
            }

            settings[name.Replace("__", ":", StringComparison.Ordinal)] = value;
            // ASPNETCORE_URLS is read without its prefix.
            var prefix = Array.Find(
                HostPrefixes, prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
            if (prefix is not null)
            {
                settings[name[prefix.Length..].Replace("__", ":", StringComparison.Ordinal)] = value;
            }
        }

        configuration.Sources.Insert(Position(configuration), new MemoryConfigurationSource { InitialData = settings });
    }

    private static string? Find(string contentRoot)
    {
        for (var folder = new DirectoryInfo(contentRoot); folder is not null; folder = folder.Parent)
        {
            var path = Path.Combine(folder.FullName, ".env");
            if (File.Exists(path))
            {
                return path;
            }
        }

        return null;
    }

    private static KeyValuePair<string, string>[] Parse(string path)
    {
        lock (Parser)
        {
            try
            {
                // Environment variables of the process are not touched: they reach every child process and library.
                return [.. Env.Load(
                    path, new LoadOptions(setEnvVars: false, clobberExistingVars: true, onlyExactPath: true))];
            }
            catch (Sprache.ParseException exception)
            {
                throw new StartupException($"{path} cannot be read as a .env file: {exception.Message}", exception);
            }
        }
    }

    /// <summary>Just below the last unprefixed environment variables; the last source when there are none.</summary>
    private static int Position(IConfigurationManager configuration)
    {
        for (var i = configuration.Sources.Count - 1; i >= 0; i--)
        {
            if (configuration.Sources[i] is EnvironmentVariablesConfigurationSource { Prefix: null or "" })
            {
                return i;
            }
        }

        return configuration.Sources.Count;
    }
}
