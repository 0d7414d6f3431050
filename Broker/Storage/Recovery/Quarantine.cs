using System.Globalization;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The folder for damaged files that the log goes on without. They are kept for inspection, and never deleted by the
/// broker.
/// </summary>
internal sealed class Quarantine(IStorageDevice device, string folder, GroupId group, ILogger logger)
{
    private readonly string _quarantine = Path.Combine(folder, GroupFolder.QuarantineName);

    /// <summary>Moves files of the group's folder; durable when it returns.</summary>
    public void Take(IReadOnlyCollection<string> names)
    {
        if (names.Count == 0)
        {
            return;
        }

        device.CreateFolder(_quarantine);
        foreach (var name in names)
        {
            var to = FreeName(name);
            device.Rename(Path.Combine(folder, name), to);
            StorageEvents.Quarantined(logger, group, Path.Combine(folder, name), to);
        }

        device.SyncFolder(_quarantine);
        device.SyncFolder(folder);
    }

    /// <summary>Keeps a copy of a small file that is about to be replaced.</summary>
    public void TakeCopy(string name, int maxBytes)
    {
        device.CreateFolder(_quarantine);
        var to = FreeName(name);
        try
        {
            var bytes = new byte[maxBytes];
            using var from = device.Open(Path.Combine(folder, name), create: false);
            var count = from.Read(0, bytes);
            using var copy = device.Open(to, create: true);
            copy.Write(0, bytes.AsSpan(0, count));
            copy.Sync();
        }
        catch (IOException failure)
        {
            // The copy is for people; the group must start without it.
            StorageEvents.QuarantineFailed(logger, failure, group, Path.Combine(folder, name));
            return;
        }

        device.SyncFolder(_quarantine);
        StorageEvents.Quarantined(logger, group, Path.Combine(folder, name), to);
    }

    private string FreeName(string name)
    {
        for (var number = 1; ; number++)
        {
            var path = Path.Combine(_quarantine, $"{name}.{number.ToString(CultureInfo.InvariantCulture)}");
            if (!device.Exists(path))
            {
                return path;
            }
        }
    }
}
