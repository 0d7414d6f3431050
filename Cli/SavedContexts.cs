using System.Text.Json;

namespace Broker.Cli;

/// <summary>
/// Connections by name, and which of them is used: contexts.json in the user's configuration folder
/// (~/.config/broker-aspire; XDG_CONFIG_HOME is honoured).
/// </summary>
internal sealed class SavedContexts
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true };

    /// <summary>The name of the one that is used when nothing else is said; null: none.</summary>
    public string? Current { get; set; }

    /// <summary>The addresses of each.</summary>
    public SortedDictionary<string, string[]> Contexts { get; init; } = new(StringComparer.Ordinal);

    private static string File => Path.Combine(
        Environment.GetFolderPath(
            Environment.SpecialFolder.ApplicationData, Environment.SpecialFolderOption.DoNotVerify),
        "broker-aspire",
        "contexts.json");

    /// <exception cref="UsageException">The file is damaged; the sentence says what to do.</exception>
    public static SavedContexts Load()
    {
        var file = File;
        if (!System.IO.File.Exists(file))
        {
            return new SavedContexts();
        }

        try
        {
            return JsonSerializer.Deserialize<SavedContexts>(System.IO.File.ReadAllText(file)) ?? new SavedContexts();
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{file} cannot be read: {e.Message} Mend or delete it, or name --server.");
        }
    }

    /// <summary>Another file takes the place of the old one, so that a crash leaves one of them whole.</summary>
    public void Save()
    {
        var file = File;
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        var fresh = $"{file}.{Environment.ProcessId}";
        System.IO.File.WriteAllText(fresh, JsonSerializer.Serialize(this, Json));
        System.IO.File.Move(fresh, file, overwrite: true);
    }

    /// <exception cref="UsageException">There is none of that name.</exception>
    public IReadOnlyList<Uri> Find(string name) => Contexts.TryGetValue(name, out var servers)
        ? Addresses.Parse(servers, $"context '{name}'")
        : throw Unknown(name);

    public UsageException Unknown(string name) => new(Contexts.Count == 0
        ? $"There is no context '{name}', and no other: 'broker context add {name} http://...' saves one."
        : $"There is no context '{name}'; there is {string.Join(", ", Contexts.Keys)}.");
}
