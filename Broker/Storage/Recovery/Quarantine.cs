using System.Globalization;

namespace Broker.Storage;

/// <summary>
/// The folder for damaged files that the log goes on without. They are kept for inspection, and never deleted by the
/// broker.
/// </summary>
internal sealed class Quarantine(GroupFolder folder)
{
    private readonly string _quarantine = folder.PathOf(GroupFolder.QuarantineName);

    /// <summary>Moves files of the group's folder; durable when it returns.</summary>
    public void Take(IReadOnlyCollection<string> names)
    {
        if (names.Count == 0)
        {
            return;
        }

        folder.Device.CreateFolder(_quarantine);
        foreach (var name in names)
        {
            var to = FreeName(name);
            folder.Device.Rename(folder.PathOf(name), to);
            StorageEvents.Quarantined(folder.Logger, folder.Group, folder.PathOf(name), to);
        }

        folder.Device.SyncFolder(_quarantine);
        folder.Sync();
    }

    /// <summary>Keeps a copy of a small file that is about to be replaced.</summary>
    public void TakeCopy(string name, int maxBytes)
    {
        folder.Device.CreateFolder(_quarantine);
        var to = FreeName(name);
        try
        {
            var bytes = new byte[maxBytes];
            using var from = folder.Device.Open(folder.PathOf(name), create: false);
            var count = from.Read(0, bytes);
            using var copy = folder.Device.Open(to, create: true);
            copy.Write(0, bytes.AsSpan(0, count));
            copy.Sync();
        }
        catch (IOException failure)
        {
            // The copy is for people; the group must start without it.
            StorageEvents.QuarantineFailed(folder.Logger, failure, folder.Group, folder.PathOf(name));
            return;
        }

        folder.Device.SyncFolder(_quarantine);
        StorageEvents.Quarantined(folder.Logger, folder.Group, folder.PathOf(name), to);
    }

    private string FreeName(string name)
    {
        for (var number = 1; ; number++)
        {
            var path = Path.Combine(_quarantine, $"{name}.{number.ToString(CultureInfo.InvariantCulture)}");
            if (!folder.Device.Exists(path))
            {
                return path;
            }
        }
    }
}
