using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>A text with holes that are filled once the application runs.</summary>
public class ReferenceExpression : IValueProvider, IManifestExpressionProvider
{
    private readonly string[] _expressions;

    private ReferenceExpression(string format, IValueProvider[] providers, string[] expressions)
    {
        Format = format;
        ValueProviders = providers;
        _expressions = expressions;
    }

    /// <summary>The text, with <c>{0}</c>, <c>{1}</c>… in place of the holes.</summary>
    public string Format { get; }

    public IReadOnlyList<IValueProvider> ValueProviders { get; }

    public string ValueExpression => string.Format(CultureInfo.InvariantCulture, Format, [.. _expressions]);

    public static ReferenceExpression Create(in ExpressionInterpolatedStringHandler handler) => handler.GetExpression();

    public async ValueTask<string?> GetValueAsync(CancellationToken cancellationToken)
    {
        var values = new object?[ValueProviders.Count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = await ValueProviders[i].GetValueAsync(cancellationToken);
        }

        return string.Format(CultureInfo.InvariantCulture, Format, values);
    }

    /// <summary>Collects an interpolated string without evaluating its holes.</summary>
    [InterpolatedStringHandler]
    public readonly ref struct ExpressionInterpolatedStringHandler
    {
        private readonly StringBuilder _format;
        private readonly List<IValueProvider> _providers;
        private readonly List<string> _expressions;

        public ExpressionInterpolatedStringHandler(int literalLength, int formattedCount)
        {
            _format = new StringBuilder(literalLength + (3 * formattedCount));
            _providers = new List<IValueProvider>(formattedCount);
            _expressions = new List<string>(formattedCount);
        }

        public void AppendLiteral(string value) =>
            _format.Append(
                value.Replace("{", "{{", StringComparison.Ordinal).Replace("}", "}}", StringComparison.Ordinal));

        public void AppendFormatted(string? value) => AppendLiteral(value ?? "");

        public void AppendFormatted<T>(T valueProvider)
            where T : IValueProvider, IManifestExpressionProvider
        {
            _format.Append(CultureInfo.InvariantCulture, $"{{{_providers.Count}}}");
            _providers.Add(valueProvider);
            _expressions.Add(valueProvider.ValueExpression);
        }

        internal ReferenceExpression GetExpression() => new(_format.ToString(), [.. _providers], [.. _expressions]);
    }
}
