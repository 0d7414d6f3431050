using System.Globalization;
using System.Text;

namespace Broker.Tests.Simulation;

/// <summary>How often each thing happened: a run that never crashes anything proves nothing.</summary>
internal sealed class Figures
{
    private const int Columns = 3;

    private static readonly Figure[] All = Enum.GetValues<Figure>();

    private readonly long[] _counts = new long[All.Length];

    public long this[Figure figure] => _counts[(int)figure];

    public void Count(Figure figure, long times = 1) => _counts[(int)figure] += times;

    public void Add(Figures other)
    {
        for (var i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }
    }

    /// <summary>A table of a few columns, read downwards.</summary>
    public string ToTable()
    {
        var rows = (All.Length + Columns - 1) / Columns;
        var table = new StringBuilder();
        for (var row = 0; row < rows; row++)
        {
            for (var i = row; i < All.Length; i += rows)
            {
                var cell = string.Create(
                    CultureInfo.InvariantCulture, $"{WordsOf(All[i]),-24}{_counts[i],15:N0}     ");
                table.Append(cell);
            }

            table.Length = table.ToString().TrimEnd().Length;
            table.AppendLine();
        }

        return table.ToString();
    }

    /// <summary>CrashOfAll: crash of all.</summary>
    private static string WordsOf(Figure figure)
    {
        var words = new StringBuilder();
        foreach (var letter in figure.ToString())
        {
            if (char.IsUpper(letter) && words.Length > 0)
            {
                words.Append(' ');
            }

            words.Append(char.ToLowerInvariant(letter));
        }

        return words.ToString();
    }
}
