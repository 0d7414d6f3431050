using System.Security.Cryptography;
using Aspire.Hosting.Publishing;

namespace Broker.AppHost.Resources;

internal static class Secrets
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const int Length = 24;

    /// <summary>Where something is published, it is drawn there.</summary>
    private static GenerateParameterDefault Drawn => new() { MinLength = Length, Special = false };

    public static IResourceBuilder<ParameterResource> AddStoredPassword(
        this IDistributedApplicationBuilder builder, string name, Settings settings) =>
        builder.AddParameter(
            name,
            settings.IsPublishing ? Drawn : new StoredPassword(Path.Combine(settings.Folder("passwords"), name)),
            secret: true);

    /// <summary>Writes a file that only its owner can read.</summary>
    public static void WriteFile(string path, string text)
    {
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = OwnerOnly;
        }

        using var writer = new StreamWriter(path, options);
        writer.Write(text);
    }

    /// <summary>
    /// A password that is kept beside the data that it opens. (User secrets are one file for all data folders of a
    /// user.)
    /// </summary>
    private sealed class StoredPassword(string path) : ParameterDefault
    {
        // Letters and digits, so that it needs no quoting anywhere; without those that look alike.
        private const string Characters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

        public override string GetDefaultValue()
        {
            if (!File.Exists(path))
            {
                // It gets its name when it is complete: half a password would lock the data for ever.
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                WriteFile($"{path}.new", RandomNumberGenerator.GetString(Characters, Length));
                File.Move($"{path}.new", path);
            }

            return File.ReadAllText(path);
        }

        public override void WriteToManifest(ManifestPublishingContext context) => Drawn.WriteToManifest(context);
    }
}
