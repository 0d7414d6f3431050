using System.Security.Cryptography;

namespace Aspire.Hosting.Local;

/// <summary>The folder that holds everything that a run leaves behind: data, logs, passwords.</summary>
internal sealed class DataRoot(string path)
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    public string Path { get; } = path;

    public string LogFolder => System.IO.Path.Combine(Path, "logs");

    /// <summary>The setting <c>DataRoot</c>, relative to the AppHost's folder; <c>.data</c> by default.</summary>
    public static DataRoot From(IDistributedApplicationBuilder builder) => new(
        System.IO.Path.GetFullPath(builder.Configuration["DataRoot"] ?? ".data", builder.AppHostDirectory));

    public string FolderOf(string resourceName) => System.IO.Path.Combine(Path, resourceName);

    public string LogFileOf(string resourceName) => System.IO.Path.Combine(LogFolder, $"{resourceName}.log");

    /// <summary>
    /// A password that is made on first use and kept. Letters and digits only, so that it needs no quoting anywhere.
    /// </summary>
    public string GetOrCreateSecret(string name)
    {
        var folder = FolderOf("secrets");
        Directory.CreateDirectory(folder);
        MakePrivate(folder, OwnerOnly);
        var file = System.IO.Path.Combine(folder, name);
        if (File.Exists(file))
        {
            return File.ReadAllText(file);
        }

        var secret = RandomNumberGenerator.GetString(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 24);
        WritePrivate(file, secret);
        return secret;
    }

    /// <summary>Writes a file that only its owner can read, whole or not at all.</summary>
    public static void WritePrivate(string file, string text)
    {
        var temporary = $"{file}.new";
        File.WriteAllText(temporary, "");
        MakePrivate(temporary, OwnerOnly & ~UnixFileMode.UserExecute);
        File.WriteAllText(temporary, text);
        File.Move(temporary, file, overwrite: true);
    }

    private static void MakePrivate(string path, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, mode);
        }
    }
}
