using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// The simplest disk that keeps the promises of Broker/Storage: hard state first, then the truncation, then entries.
/// </summary>
internal sealed class ModelDisk
{
    private readonly List<Entry> _entries = [];

    public HardState HardState { get; private set; }

    public IReadOnlyList<Entry> Entries => _entries;

    /// <summary>Durable when it returns.</summary>
    public void Write(DiskWrite write) => Apply(write, write.Entries.Count + 2);

    /// <summary>
    /// The machine stops in the middle of a write: any part that the order of writing allows remains.
    /// </summary>
    public void Tear(DiskWrite write, Random random) => Apply(write, random.Next(write.Entries.Count + 3));

    private void Apply(DiskWrite write, int parts)
    {
        if (parts >= 1 && write.HardState is { } hardState)
        {
            HardState = hardState;
        }

        if (parts >= 2 && write.TruncateFrom is { } from && from.Value <= _entries.Count)
        {
            _entries.RemoveRange((int)from.Value - 1, _entries.Count - (int)from.Value + 1);
        }

        if (parts > 2)
        {
            _entries.AddRange(write.Entries.Take(parts - 2));
        }
    }
}
