namespace Broker.Tests.Unit.Consensus;

/// <summary>A unified difference of two texts, with three lines around each change.</summary>
internal static class ScriptDiff
{
    private const int Context = 3;

    public static string Unified(string expected, string actual)
    {
        var changes = Compare(expected.Split('\n'), actual.Split('\n'));
        var shown = new bool[changes.Count];
        for (var i = 0; i < changes.Count; i++)
        {
            for (var near = i - Context; near <= i + Context && changes[i].Sign != ' '; near++)
            {
                if (near >= 0 && near < changes.Count)
                {
                    shown[near] = true;
                }
            }
        }

        var lines = new List<string>();
        for (var i = 0; i < changes.Count; i++)
        {
            if (shown[i])
            {
                if (i == 0 || !shown[i - 1])
                {
                    lines.Add($"@@ line {changes[i].Line} @@");
                }

                lines.Add($"{changes[i].Sign}{changes[i].Text}");
            }
        }

        return string.Join('\n', lines);
    }

    /// <summary>By the longest common subsequence; scenes are a few hundred lines.</summary>
    private static List<(char Sign, int Line, string Text)> Compare(string[] old, string[] now)
    {
        var common = new int[old.Length + 1, now.Length + 1];
        for (var i = old.Length - 1; i >= 0; i--)
        {
            for (var j = now.Length - 1; j >= 0; j--)
            {
                common[i, j] = old[i] == now[j]
                    ? common[i + 1, j + 1] + 1
                    : Math.Max(common[i + 1, j], common[i, j + 1]);
            }
        }

        var changes = new List<(char, int, string)>();
        for (int i = 0, j = 0; i < old.Length || j < now.Length;)
        {
            if (i < old.Length && j < now.Length && old[i] == now[j])
            {
                changes.Add((' ', i + 1, old[i++]));
                j++;
            }
            else if (i < old.Length && (j == now.Length || common[i + 1, j] >= common[i, j + 1]))
            {
                changes.Add(('-', i + 1, old[i++]));
            }
            else
            {
                changes.Add(('+', i + 1, now[j++]));
            }
        }

        return changes;
    }
}
